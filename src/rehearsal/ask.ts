import { setTimeout } from 'node:timers/promises'
import type { Draw } from '../random.ts'
import { type Call, nowMs } from './histories/calls.ts'
import type { Ledger } from './ledger.ts'

/** No answer may take longer; a second more for a machine that is busy with the rehearsal itself. */
const MAX_ANSWER_MS = 4_000
const RETRY_MS = 60
const RETRY_LIMIT_MS = 20_000

type Body = { data?: Record<string, unknown>; code?: string; available?: number; reason?: string }
export type Answer = { status: number; body: Body }
type Content = { body?: object; key?: string; token?: string | undefined }
export type Asker = ReturnType<typeof createAsker>

/** Whether nobody listened: such a call has no effect, now or later. */
const isRefusedByNobody = (error: unknown) =>
  ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED'

/** What a history has of an answer. One that leaves open what was done is none. */
function noteAnswer(call: Call, { status, body }: Answer): void {
  const { code, data, available, reason } = body
  if (status >= 500 || status === 429 || code === 'in_progress') {
    // A hold is one step, and a closed fence means that it was not taken.
    call.is_void =
      status === 429 || (code === 'recovering' && call.method === 'POST' && call.path === '/holds')
    return
  }
  call.answer = { status, ...(code && { code }), ...(data && { data }), ...(reason && { reason }) }
  if (available !== undefined) call.answer.available = available
}

/** Somebody who asks one of the processes at `urls`, each time another one that `draw` names. */
export function createAsker(ledger: Ledger, urls: string[], draw: Draw) {
  /** One request, whatever comes back: undefined where the connection broke before an answer. */
  async function ask(method: string, path: string, { body, key, token }: Content = {}) {
    ledger.counts.requests += 1
    const service = Math.floor(draw() * urls.length)
    const call: Call = { service, method, path, began_ms: nowMs(), ended_ms: Number.POSITIVE_INFINITY }
    if (body) call.body = body as Record<string, unknown>
    if (key) call.key = key
    ledger.calls.push(call)
    try {
      const response = await fetch(`${urls[service]}/api${path}`, {
        method,
        signal: AbortSignal.timeout(MAX_ANSWER_MS),
        headers: {
          ...(body ? { 'content-type': 'application/json' } : {}),
          ...(key ? { 'idempotency-key': key } : {}),
          ...(token ? { authorization: `Bearer ${token}` } : {}),
        },
        ...(body ? { body: JSON.stringify(body) } : {}),
      })
      const text = await response.text()
      const answer: Answer = {
        status: response.status,
        body: text === '' ? {} : (JSON.parse(text) as Body),
      }
      call.ended_ms = nowMs()
      noteAnswer(call, answer)
      if (answer.status >= 500 && answer.status !== 503) {
        ledger.surprises.push(`${method} ${path} answered ${answer.status}`)
      }
      if (answer.status === 503) ledger.counts.unavailable += 1
      return answer
    } catch (error) {
      if ((error as Error).name === 'TimeoutError') ledger.surprises.push(`${method} ${path} hung`)
      call.ended_ms = nowMs()
      call.is_void = isRefusedByNobody(error)
      ledger.counts.broken_replies += 1
      return undefined
    }
  }

  /** The same request again until it is answered with something other than 503, as a careful client does. */
  async function insist(method: string, path: string, content: Content): Promise<Answer | undefined> {
    const until_ms = Date.now() + RETRY_LIMIT_MS
    while (Date.now() < until_ms) {
      const answer = await ask(method, path, content)
      if (answer && answer.status < 500) return answer
      await setTimeout(RETRY_MS)
    }
    ledger.surprises.push(`${method} ${path} was not answered within ${RETRY_LIMIT_MS / 1000} s`)
    return undefined
  }

  return { ask, insist }
}
