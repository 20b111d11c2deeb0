import { recordAdjustments } from '../db/adjustments.ts'
import { inOrder, type Sql } from '../db/client.ts'
import { OtherHistoryError, type PlacedOrder, requireHistories, upsertOrders } from '../db/orders.ts'
import { isSamePayment, KeyTakenError, type PlacedPayment, upsertPayments } from '../db/payments.ts'
import { lockProducts } from '../db/products.ts'
import { lockEpochs } from '../db/shards.ts'
import { type Entry, isOrComesOf } from '../engine/records.ts'

/** An entry's shard was rebuilt since: Redis may have lost the entry, and what it changed counts nowhere. */
export class LateError extends Error {
  /** Of the class of errors that blame the data. */
  readonly code = 'P0001'
  readonly epoch: number
  constructor(epoch: number) {
    super('the shard was rebuilt before this was written')
    this.epoch = epoch
  }
}

/** Throws LateError where a shard has a later epoch than that in which one of its entries was made. */
export async function refuseLate(sql: Sql, entries: Entry[]): Promise<void> {
  const epochs = await lockEpochs(sql, [...new Set(entries.map(({ shard }) => shard))])
  for (const { shard, epoch } of entries) {
    const known = epochs.get(shard)
    if (epoch !== undefined && known !== undefined && known > epoch) throw new LateError(known)
  }
}

/** Of several transitions of one order in a batch only the latest is written: one statement can not change a row twice. */
function latestOrders(entries: Entry[]): PlacedOrder[] {
  const latest = new Map<string, PlacedOrder>()
  for (const { shard, order } of entries) {
    if (!order) continue
    const known = latest.get(order.id)?.order
    if (known && isOrComesOf(known, order)) continue
    if (known && !isOrComesOf(order, known)) throw new OtherHistoryError(`order ${order.id}`)
    latest.set(order.id, { shard, order })
  }
  return [...latest.values()]
}

/** Of a payment that was parked and settled within one batch only the settled row is written. */
function latestPayments(entries: Entry[]): PlacedPayment[] {
  const latest = new Map<string, PlacedPayment>()
  for (const { shard, payments } of entries) {
    for (const payment of payments) {
      const known = latest.get(payment.idempotency_key)?.payment
      if (known && !isSamePayment(known, payment)) throw new KeyTakenError(payment.idempotency_key)
      if (!known || known.outcome === 'parked') latest.set(payment.idempotency_key, { shard, payment })
    }
  }
  return [...latest.values()]
}

/** Writes all that entries say: in a transaction, whose statements are sent together. */
export async function write(sql: Sql, entries: Entry[]): Promise<void> {
  const adjustments = entries.flatMap(({ adjustment }) => adjustment ?? [])
  const orders = latestOrders(entries)
  const payments = latestPayments(entries)
  const changed = [...adjustments, ...orders.flatMap(({ order }) => order.items)].map(
    ({ product_id }) => product_id,
  )
  const added = adjustments.filter(({ delta }) => delta > 0)
  const taken_out = adjustments.filter(({ delta }) => delta <= 0)
  // Sent together, taken in this order: what was added may be what the orders need, what was taken out what they gave back.
  await inOrder([
    lockProducts(sql, [...new Set(changed)]),
    recordAdjustments(sql, added),
    upsertOrders(sql, orders),
    recordAdjustments(sql, taken_out),
    requireHistories(
      sql,
      entries.flatMap(({ basis }) => basis ?? []),
    ),
    upsertPayments(sql, payments),
  ])
}

export const isFloor = (error: unknown) => (error as { constraint?: string }).constraint === 'products_floor'
/** The product would be worth more than can be counted: its price was raised while units were added. */
export const isTooMuch = (error: unknown) =>
  ['products_amount', 'products_total'].includes((error as { constraint?: string }).constraint ?? '')
