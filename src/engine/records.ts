import { firstExpiresAtMs } from './ids.ts'

/** What the scripts store and return, as values. Times are ms since 1970 by the Redis clock, amounts are minor units. */

export type Item = { product_id: number; qty: number; unit_amount: number }

export type Hold = {
  id: string
  items: Item[]
  amount: number
  currency: string
  customer_id: string | null
  created_at_ms: number
  expires_at_ms: number
}

export type Order = {
  id: string
  /** Raised by one with every transition; the higher one is the newer one, in whatever order they arrive. */
  version: number
  payment_status: 'pending' | 'paid' | 'failed'
  order_status: 'pre-payment' | 'confirmed' | 'cancelled'
  cancel_reason: 'payment_failed' | 'payment_timeout' | 'requested' | null
  items: Item[]
  amount: number
  currency: string
  customer_id: string | null
  created_at_ms: number
  pay_by_ms: number
  hold_created_at_ms: number
  hold_expires_at_ms: number
  /** Key and fingerprint of the request that made it, so that its repetition is known for ever. */
  idem: string | null
}

export type PaymentOutcome = 'parked' | 'applied' | 'ignored' | 'refund_due'

/** Why the money of a successful payment is due back. */
export const REFUND_REASONS = [
  'amount_mismatch',
  'already_paid',
  'order_cancelled',
  'no_units_left',
  'hold_released',
  'order_never_came',
] as const
export type RefundReason = (typeof REFUND_REASONS)[number]

export type Payment = {
  idempotency_key: string
  order_id: string
  status: 'success' | 'failed'
  amount: number | null
  currency: string | null
  payment_method: string | null
  transaction_id: string | null
  outcome: PaymentOutcome
  /** What the sender was answered first: `parked` for one that came before its order. */
  first_outcome: PaymentOutcome
  reason: RefundReason | null
  created_at_ms: number
}

export type Adjustment = {
  product_id: number
  delta: number
  idempotency_key: string
  reason: string | null
  created_at_ms: number
}

/** What one step changed and PostgreSQL does not have yet. */
export type Entry = {
  shard: number
  entry_id: string
  /** In which the process believed when it had the entry; undefined where it never opened the shard. */
  epoch: number | undefined
  order: Order | null
  payments: Payment[]
  adjustment: Adjustment | null
}

const orNull = (text: string | undefined) => (text === undefined || text === '' ? null : text)
const numberOrNull = (text: string | undefined) => (text === undefined || text === '' ? null : Number(text))

/** `1:2:9900,4:1:500` as items. */
export function parseItems(text: string): Item[] {
  return text.split(',').map((part) => {
    const [product_id, qty, unit_amount] = part.split(':')
    return { product_id: Number(product_id), qty: Number(qty), unit_amount: Number(unit_amount) }
  })
}

export function formatItems(items: Item[]): string {
  return items.map((item) => `${item.product_id}:${item.qty}:${item.unit_amount}`).join(',')
}

/** The amount of all items; products are bounded so that ten of them stay below 2^53. */
export function amountOf(items: Item[]): number {
  return items.reduce((sum, item) => sum + item.qty * item.unit_amount, 0)
}

/** The `expires_at` in ms that the score of a hold says. */
export const expiresAtMs = (score: string) => Math.floor(Number(score))

/** Reads `id|record` as lua/include/holds.lua describes it. */
export function parseHold(member: string, expires_at_ms: number): Hold {
  const [id = '', items_text = '', currency = '', ttl_ms = '', ...customer] = member.split('|')
  const items = parseItems(items_text)
  return {
    id,
    items,
    amount: amountOf(items),
    currency,
    customer_id: orNull(customer.join('|')),
    created_at_ms: firstExpiresAtMs(id) - Number(ttl_ms),
    expires_at_ms,
  }
}

type Texts = Record<string, string>

/** Reads the text of an order as lua/include/orders.lua describes it. */
export function parseOrder(record: string): Order {
  const texts = record.split('|')
  return {
    id: texts[0] as string,
    version: Number(texts[1]),
    payment_status: texts[2] as Order['payment_status'],
    order_status: texts[3] as Order['order_status'],
    cancel_reason: orNull(texts[4]) as Order['cancel_reason'],
    items: parseItems(texts[5] as string),
    amount: Number(texts[6]),
    currency: texts[7] as string,
    created_at_ms: Number(texts[8]),
    pay_by_ms: Number(texts[9]),
    hold_created_at_ms: Number(texts[10]),
    hold_expires_at_ms: Number(texts[11]),
    idem: orNull(texts[12]),
    customer_id: orNull(texts.slice(13).join('|')),
  }
}

export function formatOrder(order: Order): string {
  return [
    ...[order.id, order.version, order.payment_status, order.order_status, order.cancel_reason ?? ''],
    ...[formatItems(order.items), order.amount, order.currency, order.created_at_ms, order.pay_by_ms],
    ...[order.hold_created_at_ms, order.hold_expires_at_ms, order.idem ?? '', order.customer_id ?? ''],
  ].join('|')
}

export function parsePayments(json: string): Payment[] {
  if (json === '') return []
  return (JSON.parse(json) as Texts[]).map((texts) => ({
    idempotency_key: texts.idempotency_key as string,
    order_id: texts.order_id as string,
    status: texts.status as Payment['status'],
    amount: numberOrNull(texts.amount),
    currency: orNull(texts.currency),
    payment_method: orNull(texts.payment_method),
    transaction_id: orNull(texts.transaction_id),
    outcome: texts.outcome as PaymentOutcome,
    first_outcome: texts.first_outcome as PaymentOutcome,
    reason: orNull(texts.reason) as RefundReason | null,
    created_at_ms: Number(texts.created_at_ms),
  }))
}

export function parseAdjustment(json: string): Adjustment {
  const texts = JSON.parse(json) as Texts
  return {
    product_id: Number(texts.product),
    delta: Number(texts.delta),
    idempotency_key: texts.idempotency_key as string,
    reason: orNull(texts.reason),
    created_at_ms: Number(texts.created_at_ms),
  }
}

/** An entry with the parts that are given. */
export function makeEntry(
  { shard, entry_id, epoch }: Pick<Entry, 'shard' | 'entry_id' | 'epoch'>,
  {
    order = null,
    payments = [],
    adjustment = null,
  }: Partial<Pick<Entry, 'order' | 'payments' | 'adjustment'>>,
): Entry {
  return { shard, entry_id, epoch, order, payments, adjustment }
}

/** An entry of the journal as XRANGE returns it. */
export function parseEntry(from: Pick<Entry, 'shard' | 'entry_id' | 'epoch'>, fields: string[]): Entry {
  const texts: Texts = {}
  for (let at = 0; at + 1 < fields.length; at += 2) texts[fields[at] as string] = fields[at + 1] as string
  return makeEntry(from, {
    order: texts.order ? parseOrder(texts.order) : null,
    payments: parsePayments(texts.payments ?? ''),
    adjustment: texts.adjustment ? parseAdjustment(texts.adjustment) : null,
  })
}
