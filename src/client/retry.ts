import { setTimeout as wait } from 'node:timers/promises'

/** The first try included. With Retry-After of a second each, a caller waits some seconds at most. */
const MAX_TRIES = 4
/** Who is asked to wait longer than this gets the 503 instead. */
const MAX_WAIT_MS = 5_000
/** Where a reply does not say how long. */
const WAIT_MS = 1_000
/** Spreads those who were all asked to wait equally long. */
const JITTER_MS = 250

const KEY = 'idempotency-key'
/** What has one effect, however often it comes, once it carries a key. */
const KEYED = /^POST .*\/api\/(holds|orders)$/
/** What is harmless to repeat by itself; a webhook has its key in the body. */
const REPEATABLE = /^((GET|HEAD|DELETE) |POST .*\/api\/payments\/webhook$)/

export type Fetch = (request: Request) => Promise<Response>
export type RetryOptions = {
  fetch?: Fetch
  /** The first one included; 1 means that nothing is repeated. */
  max_tries?: number
  /** Who is asked by Retry-After to wait longer gets the 503 instead. */
  max_wait_ms?: number
}

/** How long to wait, by the Retry-After of a 503 (RFC 9110: seconds or a date). */
function waitMs(response: Response | undefined): number {
  const text = response?.headers.get('retry-after') ?? ''
  if (/^\d+$/.test(text)) return Number(text) * 1000
  const date_ms = Date.parse(text)
  return Number.isNaN(date_ms) ? WAIT_MS : Math.max(0, date_ms - Date.now())
}

const nameOf = ({ method, url }: Request) => `${method} ${new URL(url).pathname}`

/** The request with an Idempotency-Key, where it needs one to be repeated and has none. */
function keyed(request: Request): Request {
  if (!KEYED.test(nameOf(request)) || request.headers.has(KEY)) return request
  const headers = new Headers(request.headers)
  headers.set(KEY, crypto.randomUUID())
  return new Request(request, { headers })
}

/**
 * A fetch that sends a request again, with the same Idempotency-Key, when the answer is 503 or when none comes. It never
 * comes sooner than Retry-After asks. What has no key and is not harmless to repeat is sent once.
 */
export function retrying(options: RetryOptions): Fetch {
  const { fetch: send = fetch, max_tries = MAX_TRIES, max_wait_ms = MAX_WAIT_MS } = options
  return async (first) => {
    const request = keyed(first)
    const is_repeatable = REPEATABLE.test(nameOf(request)) || request.headers.has(KEY)
    const tries = is_repeatable ? max_tries : 1
    for (let left = tries - 1; ; left -= 1) {
      let response: Response | undefined
      try {
        response = await send(request.clone())
      } catch (error) {
        if (left <= 0 || request.signal.aborted) throw error
      }
      const wait_ms = waitMs(response)
      if (response && (response.status !== 503 || left <= 0 || wait_ms > max_wait_ms)) return response
      await response?.body?.cancel()
      await wait(wait_ms + Math.random() * JITTER_MS, undefined, { signal: request.signal })
    }
  }
}
