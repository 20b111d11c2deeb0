import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { Draw } from '../random.ts'
import { type Asker, createAsker } from './ask.ts'
import type { Ledger, Placed } from './ledger.ts'

/** A buyer who finds nothing free comes back after this. */
const COME_BACK_MS = 40
/** When a late payment comes, in shares of the time for which an order may stay unpaid: around its end and past it. */
const LATE_FROM = 0.8
const LATE_TO = 1.8

/** In how many cases somebody looks meanwhile, asks for an order twice at once, and pays while the cancellation is on its way. */
const LOOK_SHARE = 0.3
const TWICE_SHARE = 0.1
const RACE_SHARE = 0.5

/** What becomes of a hold, and of how many in a hundred: most give their units back, so that the same ones are sold again and again. */
const PLANS = [
  [4, 'forget'],
  [8, 'release'],
  [10, 'prepay'],
  [36, 'cancel'],
  [3, 'cancel and pay'],
  [10, 'fail'],
  [4, 'fail and pay'],
  [10, 'pay'],
  [7, 'pay late'],
  [8, 'never pay'],
] as const
type Plan = (typeof PLANS)[number][1]

function drawPlan(draw: Draw): Plan {
  let left = draw() * 100
  for (const [share, plan] of PLANS) {
    left -= share
    if (left < 0) return plan
  }
  return 'never pay'
}

type Buyer = { ledger: Ledger; asker: Asker; draw: Draw; order_ttl_ms: number; stop: AbortSignal }
type Hold = { hold_id: string; order_id: string; qty: number; note: Placed }

/** Asks for something, and now and then looks at the hold or its order meanwhile, at another process perhaps. */
async function whileLooking<Done>(buyer: Buyer, order_id: string, asked: () => Promise<Done>): Promise<Done> {
  const { asker, draw } = buyer
  const paths = [`/orders/${order_id}`, `/holds/${order_id.replace('ord_', 'hld_')}`]
  const path = draw() < LOOK_SHARE && paths[Math.floor(draw() * paths.length)]
  const [done] = await Promise.all([asked(), path && asker.ask('GET', path)])
  return done
}

async function pay(buyer: Buyer, order_id: string, status: string): Promise<void> {
  const { ledger, asker, draw } = buyer
  const key = randomUUID()
  const content = { body: { idempotency_key: key, order_id, status }, key }
  ledger.payments.push(key)
  const answer = await whileLooking(buyer, order_id, () => asker.insist('POST', '/payments/webhook', content))
  if (!answer) return
  if (answer.status >= 300) {
    ledger.surprises.push(`a payment of ${order_id} was answered ${answer.status} ${answer.body.code}`)
    return
  }
  const { outcome, first_outcome } = answer.body.data as { outcome: string; first_outcome?: string }
  ledger.promise({ kind: 'payment', order_id, idempotency_key: key, outcome: first_outcome ?? outcome })
  if (draw() < 0.3) await asker.ask('POST', '/payments/webhook', content)
}

/** Makes the order of a hold. Returns whether it was acknowledged. */
async function order(buyer: Buyer, { hold_id, order_id, qty }: Hold): Promise<boolean> {
  const { ledger, asker, draw } = buyer
  const asked_ms = Date.now()
  const content = { body: { hold_id }, key: `order-${hold_id}` }
  const [answer] = await Promise.all([
    whileLooking(buyer, order_id, () => asker.insist('POST', '/orders', content)),
    // A second click.
    draw() < TWICE_SHARE && asker.ask('POST', '/orders', content),
  ])
  if (answer?.status === 201) ledger.promise({ kind: 'order', order_id, qty })
  else if (answer) {
    const { status, body } = answer
    ledger.refused.push({ order_id, code: body.code ?? String(status), asked_ms, answered_ms: Date.now() })
  }
  return answer?.status === 201
}

async function cancel(buyer: Buyer, { order_id, note }: Hold): Promise<void> {
  const { ledger, asker } = buyer
  note.is_cancelled = true
  const answer = await whileLooking(buyer, order_id, () => asker.ask('DELETE', `/orders/${order_id}`))
  if (answer?.status === 200) ledger.promise({ kind: 'cancellation', order_id })
  if (answer?.status === 404) ledger.surprises.push(`the acknowledged order ${order_id} was not found`)
}

async function goOn(buyer: Buyer, hold: Hold): Promise<void> {
  const { ledger, asker, draw, order_ttl_ms, stop } = buyer
  const plan = drawPlan(draw)
  if (plan === 'forget') return
  if (plan === 'release') {
    const released = await whileLooking(buyer, hold.order_id, () =>
      asker.ask('DELETE', `/holds/${hold.hold_id}`),
    )
    if (released?.status === 204) ledger.counts.released += 1
    return
  }
  if (plan === 'prepay') {
    hold.note.is_prepaid = true
    await pay(buyer, hold.order_id, 'success')
  }
  if (!(await order(buyer, hold))) return
  if (plan === 'cancel and pay' && draw() < RACE_SHARE) {
    await Promise.all([cancel(buyer, hold), pay(buyer, hold.order_id, 'success')])
    return
  }
  if (plan.startsWith('cancel')) await cancel(buyer, hold)
  if (plan.startsWith('fail')) await pay(buyer, hold.order_id, 'failed')
  if (plan === 'pay late') {
    const late_ms = order_ttl_ms * (LATE_FROM + draw() * (LATE_TO - LATE_FROM))
    await setTimeout(late_ms, undefined, { signal: stop }).catch(() => {})
  }
  if (plan.includes('pay') && plan !== 'prepay' && plan !== 'never pay') {
    await pay(buyer, hold.order_id, 'success')
  }
}

/** Buys until `stop` is aborted, one funnel after the other, each request at one of the processes at `urls`. */
export async function buy(
  ledger: Ledger,
  options: { urls: string[]; product_id: number; draw: Draw; order_ttl_ms: number; stop: AbortSignal },
): Promise<void> {
  const { urls, product_id, draw, order_ttl_ms, stop } = options
  const asker = createAsker(ledger, urls, draw)
  const buyer = { ledger, asker, draw, order_ttl_ms, stop }
  while (!stop.aborted) {
    const qty = 1 + Math.floor(draw() * 3)
    const answer = await asker.ask('POST', '/holds', { body: { product_id, qty }, key: randomUUID() })
    if (answer?.status === 201) {
      ledger.counts.held += qty
      const { hold_id, order_id, expires_at } = answer.body.data as Record<
        'hold_id' | 'order_id' | 'expires_at',
        string
      >
      const note = ledger.place(order_id, Date.parse(expires_at))
      await goOn(buyer, { hold_id, order_id, qty, note })
      continue
    }
    if (answer?.status === 409) ledger.counts.refused += 1
    else if (answer && answer.status < 500)
      ledger.surprises.push(`POST /holds answered ${answer.status} ${answer.body.code}`)
    await setTimeout(COME_BACK_MS)
  }
}
