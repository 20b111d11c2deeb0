import type { Order, Payment } from '../engine/records.ts'
import type { Ledger, Placed, Refused } from './ledger.ts'

/** A hold counts as live no longer than this before its end: an answer is on its way for some time on a busy machine. */
const SLACK_MS = 500
const GONE_CODES = ['hold_not_found', 'hold_expired', 'hold_released']
/** Why units may have been taken from an order before its payment came. */
const ENDS_UNPAID = ['payment_timeout', 'payment_failed']

const isLiveAt = (moment_ms: number, { expires_at_ms }: Placed) => moment_ms < expires_at_ms - SLACK_MS

/** Whether an order was refused though it was right: its hold was live, and no loss of Redis explains that it was not found. */
function isWrong(
  { code, asked_ms, answered_ms }: Refused,
  hold: Placed,
  redis_lost_until_ms: number,
): boolean {
  // Its units are its own from the hold on: no fault explains that there are too few of them.
  if (code === 'insufficient_stock') return isLiveAt(asked_ms, hold)
  // Nobody but the sweeper makes an order of somebody else's hold.
  if (code === 'hold_already_used') return !hold.is_prepaid
  if (GONE_CODES.includes(code)) {
    return isLiveAt(answered_ms, hold) && hold.placed_ms > redis_lost_until_ms
  }
  return true
}

/** The orders that were refused though they were right, in a line each. */
export function wronglyRefused({ refused, placed, redis_lost_until_ms }: Ledger): string[] {
  return refused.flatMap((one) => {
    const hold = placed.get(one.order_id)
    if (!hold || !isWrong(one, hold, redis_lost_until_ms)) return []
    const left_ms = hold.expires_at_ms - one.answered_ms
    return `order ${one.order_id} was refused (${one.code}); its hold had ${left_ms} ms left`
  })
}

/** Whether what the buyer did, or what became of the order, explains that money is due back. Nobody here pays twice or another amount. */
function isDue({ reason, created_at_ms }: Payment, order: Order | undefined, hold: Placed, ledger: Ledger) {
  switch (reason) {
    case 'no_units_left':
      return ENDS_UNPAID.includes(order?.cancel_reason ?? '')
    case 'order_cancelled':
      return hold.is_cancelled
    case 'order_never_came':
      return !order && (hold.placed_ms <= ledger.redis_lost_until_ms || !isLiveAt(created_at_ms, hold))
    default:
      return false
  }
}

/** What is wrong with the state of a payment, or undefined. `order_id` is as the outside sees it. */
export function paymentFault(
  payment: Payment,
  order_id: string,
  order: Order | undefined,
  ledger: Ledger,
): string | undefined {
  const hold = ledger.placed.get(order_id)
  if (!hold) return undefined
  const name = `payment ${payment.idempotency_key} of ${order_id}`
  if (payment.outcome === 'parked' && order) return `${name} is parked though its order is there`
  if (payment.outcome !== 'refund_due' || isDue(payment, order, hold, ledger)) return undefined
  const { order_status, cancel_reason } = order ?? {}
  return `${name} is due for refund (${payment.reason}); its order is ${cancel_reason ?? order_status ?? 'not there'}`
}
