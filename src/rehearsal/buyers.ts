import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { Draw } from '../random.ts'
import type { Ledger } from './ledger.ts'

/** No answer may take longer; a second more for a machine that is busy with the rehearsal itself. */
const MAX_ANSWER_MS = 4_000
const RETRY_MS = 60
const RETRY_LIMIT_MS = 20_000
/** A buyer who finds nothing free comes back after this. */
const COME_BACK_MS = 40

type Answer = { status: number; body: { data?: Record<string, unknown>; code?: string } }

/** One request, whatever comes back: undefined where the connection broke before an answer. */
async function ask(
  ledger: Ledger,
  method: string,
  url: string,
  body?: object,
  key?: string,
): Promise<Answer | undefined> {
  ledger.counts.requests += 1
  try {
    const response = await fetch(url, {
      method,
      signal: AbortSignal.timeout(MAX_ANSWER_MS),
      headers: {
        ...(body ? { 'content-type': 'application/json' } : {}),
        ...(key ? { 'idempotency-key': key } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
    const text = await response.text()
    return { status: response.status, body: text === '' ? {} : (JSON.parse(text) as Answer['body']) }
  } catch (error) {
    if ((error as Error).name === 'TimeoutError')
      ledger.surprises.push(`${method} ${new URL(url).pathname} hung`)
    ledger.counts.broken_replies += 1
    return undefined
  }
}

/** The same request again until it is answered with something other than 503, as a careful client does. */
async function insist(
  ledger: Ledger,
  method: string,
  url: string,
  body: object | undefined,
  key: string,
): Promise<Answer | undefined> {
  const until_ms = Date.now() + RETRY_LIMIT_MS
  while (Date.now() < until_ms) {
    const answer = await ask(ledger, method, url, body, key)
    if (answer && answer.status >= 500 && answer.status !== 503) {
      ledger.surprises.push(`${method} ${new URL(url).pathname} answered ${answer.status}`)
    }
    if (answer && answer.status < 500) return answer
    if (answer) ledger.counts.unavailable += 1
    await setTimeout(RETRY_MS)
  }
  return undefined
}

async function pay(ledger: Ledger, api: string, order_id: string, status: string, draw: Draw): Promise<void> {
  const idempotency_key = randomUUID()
  const notice = { idempotency_key, order_id, status }
  const answer = await insist(ledger, 'POST', `${api}/payments/webhook`, notice, idempotency_key)
  if (!answer || answer.status >= 300) return
  const { outcome, first_outcome } = answer.body.data as { outcome: string; first_outcome?: string }
  ledger.promise({ kind: 'payment', order_id, idempotency_key, outcome: first_outcome ?? outcome })
  if (draw() < 0.3) await ask(ledger, 'POST', `${api}/payments/webhook`, notice, idempotency_key)
}

/** What one buyer does with a hold: most order and pay, some give up, some pay first, some fail to pay. */
async function goOn(ledger: Ledger, api: string, hold_id: string, order_id: string, qty: number, draw: Draw) {
  const choice = draw()
  if (choice < 0.1) return
  if (choice < 0.2) {
    const released = await ask(ledger, 'DELETE', `${api}/holds/${hold_id}`)
    if (released?.status === 204) ledger.counts.released += 1
    return
  }
  if (choice < 0.3) await pay(ledger, api, order_id, 'success', draw)
  const order = await insist(ledger, 'POST', `${api}/orders`, { hold_id }, `order-${hold_id}`)
  if (order?.status !== 201) return
  ledger.promise({ kind: 'order', order_id, qty })
  if (choice < 0.3) return
  if (choice < 0.4) {
    const cancelled = await ask(ledger, 'DELETE', `${api}/orders/${order_id}`)
    if (cancelled?.status === 200) ledger.promise({ kind: 'cancellation', order_id })
  } else if (choice < 0.55) await pay(ledger, api, order_id, 'failed', draw)
  else if (choice < 0.95) await pay(ledger, api, order_id, 'success', draw)
}

/** Buys until `stop` is aborted, one funnel after the other. */
export async function buy(
  ledger: Ledger,
  options: { url: string; product_id: number; draw: Draw; stop: AbortSignal },
): Promise<void> {
  const { url, product_id, draw, stop } = options
  const api = `${url}/api`
  while (!stop.aborted) {
    const qty = 1 + Math.floor(draw() * 3)
    const answer = await ask(ledger, 'POST', `${api}/holds`, { product_id, qty }, randomUUID())
    if (answer?.status === 201) {
      ledger.counts.held += qty
      const { hold_id, order_id } = answer.body.data as { hold_id: string; order_id: string }
      await goOn(ledger, api, hold_id, order_id, qty, draw)
      continue
    }
    if (answer?.status === 409) ledger.counts.refused += 1
    else if (answer?.status === 503) ledger.counts.unavailable += 1
    else if (answer) ledger.surprises.push(`POST /api/holds answered ${answer.status}`)
    await setTimeout(COME_BACK_MS)
  }
}
