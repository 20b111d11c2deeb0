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
  /**
   * Every transition so far, the latest last, each named so that no other has its name: two orders with one history are the
   * same, and one whose history begins with the other's is what became of it, in whatever order they arrive.
   */
  history: string
  /** How many transitions that is. */
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
  /** How many payments were parked for its order before it. */
  seq: number
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
  /** The order as it was when it was decided what becomes of payments that do not change it. */
  basis: Order | null
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
  // A rebuild reads a hundred thousand of them: a rest of the parts, or a copy of the whole, would take longer than all else.
  const parts = member.split('|')
  const id = parts[0] as string
  const items = parseItems(parts[1] ?? '')
  return {
    id,
    items,
    amount: amountOf(items),
    currency: parts[2] ?? '',
    customer_id: orNull(parts.length > 5 ? parts.slice(4).join('|') : parts[4]),
    created_at_ms: firstExpiresAtMs(id) - Number(parts[3]),
    expires_at_ms,
  }
}

type Texts = Record<string, string>

/** How many transitions a history names. */
export const versionOf = (history: string): number => history.split(',').length

/** Versions up to 0.1 counted transitions instead of naming them, and may have left such an order in the journal. */
function parseHistory(text: string): Pick<Order, 'history' | 'version'> {
  if (text.includes('-')) return { history: text, version: versionOf(text) }
  const version = Number(text)
  return { history: Array.from({ length: version }, (_, at) => `0-${at + 1}`).join(), version }
}

/** Whether one order is the other, or what became of it. */
export const isOrComesOf = (order: Order, other: Order): boolean =>
  `${order.history},`.startsWith(`${other.history},`)

/** Reads the text of an order as lua/include/orders.lua describes it. */
export function parseOrder(record: string): Order {
  const texts = record.split('|')
  return {
    id: texts[0] as string,
    ...parseHistory(texts[1] as string),
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
  const state = `${order.payment_status}|${order.order_status}|${order.cancel_reason ?? ''}`
  const worth = `${formatItems(order.items)}|${order.amount}|${order.currency}`
  const times = `${order.created_at_ms}|${order.pay_by_ms}|${order.hold_created_at_ms}|${order.hold_expires_at_ms}`
  return `${order.id}|${order.history}|${state}|${worth}|${times}|${order.idem ?? ''}|${order.customer_id ?? ''}`
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
    seq: Number(texts.seq ?? 0),
  }))
}

/** What an order in Redis keeps of a payment, as lua/include/seen.lua describes it; its journal entry is finished. */
export function formatSeen(payment: Payment): string {
  return [
    ...[payment.status, payment.amount ?? '', payment.currency ?? '', payment.first_outcome, ''],
    ...[payment.outcome, payment.reason ?? '', payment.created_at_ms, payment.seq],
    JSON.stringify([payment.payment_method ?? '', payment.transaction_id ?? '']),
  ].join('|')
}

/** Reads what an order in Redis keeps of a payment. */
export function parseSeen(order_id: string, idempotency_key: string, seen: string): Payment {
  const [status, amount, currency, first_outcome, , outcome, reason, created_at_ms, seq, ...rest] =
    seen.split('|')
  // Version 0.1 kept no more than what it needed to know the payment again.
  const [payment_method, transaction_id] = rest.length > 0 ? (JSON.parse(rest.join('|')) as string[]) : []
  return {
    idempotency_key,
    order_id,
    status: status as Payment['status'],
    amount: numberOrNull(amount),
    currency: orNull(currency),
    payment_method: orNull(payment_method),
    transaction_id: orNull(transaction_id),
    outcome: (outcome ?? first_outcome) as PaymentOutcome,
    first_outcome: first_outcome as PaymentOutcome,
    reason: orNull(reason) as RefundReason | null,
    created_at_ms: Number(created_at_ms ?? 0),
    seq: Number(seq ?? 0),
  }
}

/** Reads a parked payment as lua/include/parked.lua describes it. */
export function parseParked(order_id: string, json: string): Payment {
  const texts = JSON.parse(json) as Texts
  return {
    idempotency_key: texts.key as string,
    order_id,
    status: texts.status as Payment['status'],
    amount: numberOrNull(texts.amount),
    currency: orNull(texts.currency),
    payment_method: orNull(texts.method),
    transaction_id: orNull(texts.transaction),
    outcome: 'parked',
    first_outcome: 'parked',
    reason: null,
    created_at_ms: Number(texts.created_at_ms),
    seq: Number(texts.seq),
  }
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
    basis = null,
  }: Partial<Pick<Entry, 'order' | 'payments' | 'adjustment' | 'basis'>>,
): Entry {
  return { shard, entry_id, epoch, order, payments, adjustment, basis }
}

/** An entry of the journal as XRANGE returns it. */
export function parseEntry(from: Pick<Entry, 'shard' | 'entry_id' | 'epoch'>, fields: string[]): Entry {
  const texts: Texts = {}
  for (let at = 0; at + 1 < fields.length; at += 2) texts[fields[at] as string] = fields[at + 1] as string
  return makeEntry(from, {
    order: texts.order ? parseOrder(texts.order) : null,
    basis: texts.basis ? parseOrder(texts.basis) : null,
    payments: parsePayments(texts.payments ?? ''),
    adjustment: texts.adjustment ? parseAdjustment(texts.adjustment) : null,
  })
}
