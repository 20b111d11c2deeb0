import { knownAdjustments } from '../db/adjustments.ts'
import type { Db } from '../db/client.ts'
import { findOrders } from '../db/orders.ts'
import { findPayments } from '../db/payments.ts'
import type { Engine } from '../engine/engine.ts'
import { orderId } from '../engine/ids.ts'
import type { Order, Payment } from '../engine/records.ts'
import { verifyShard } from '../recovery/verify.ts'
import type { Ledger, Promised } from './ledger.ts'
import { paymentFault, wronglyRefused } from './rights.ts'

const PAGE = 1_000

export type Certificate = {
  units: number
  held: number
  sold: number
  refused: number
  acknowledged: number
  lost: string[]
  oversold: number
  /** Orders that were refused though they were right. */
  refused_orders: string[]
  broken: string[]
}

/** How many promises were broken. */
export const countBroken = ({ lost, oversold, refused_orders, broken }: Certificate) =>
  lost.length + oversold + refused_orders.length + broken.length

async function inPages<Thing>(names: string[], find: (page: string[]) => Promise<Thing[]>): Promise<Thing[]> {
  const found: Thing[] = []
  for (let at = 0; at < names.length; at += PAGE) found.push(...(await find(names.slice(at, at + PAGE))))
  return found
}

/** Why an acknowledged operation counts as lost, or undefined where PostgreSQL still knows it. */
function lossOf(
  one: Promised,
  orders: Map<string, Order>,
  payments: Map<string, Payment>,
): string | undefined {
  const order = orders.get(one.order_id)
  if (one.kind === 'order') return order ? undefined : `order ${one.order_id} is gone`
  if (one.kind === 'cancellation') {
    return order?.cancel_reason === 'requested' ? undefined : `the cancellation of ${one.order_id} is gone`
  }
  const payment = payments.get(one.idempotency_key)
  if (!payment) return `payment ${one.idempotency_key} is gone`
  if (one.outcome !== 'parked' && payment.outcome !== one.outcome) {
    return `payment ${one.idempotency_key} was ${one.outcome} and is ${payment.outcome}`
  }
  const pays = payment.status === 'success' && payment.outcome === 'applied'
  return pays && order?.payment_status !== 'paid' ? `order ${one.order_id} was paid and is not` : undefined
}

/** The acknowledged changes of stock that PostgreSQL does not know. */
async function lostAdjustments({ adjustments }: Ledger, db: Db, product_id: number): Promise<string[]> {
  const asked = adjustments.map((idempotency_key) => ({ product_id, idempotency_key }))
  const known = await db.use((sql) => knownAdjustments(sql, asked))
  const lost = adjustments.filter((key) => !known.has(`${product_id}:${key}`))
  return lost.map((key) => `the stock change ${key} is gone`)
}

/** Compares what was acknowledged or refused with what PostgreSQL has, and Redis with PostgreSQL. */
export async function certify(
  ledger: Ledger,
  options: { engine: Engine; db: Db; product_id: number; wait: (ms: number) => Promise<unknown> },
): Promise<Certificate> {
  const { engine, db, product_id, wait } = options
  const { promised, adjustments } = ledger
  const bare = (order_id: string) => order_id.replace('ord_', '')
  const ids = [...new Set([...promised.map(({ order_id }) => order_id), ...ledger.placed.keys()])]
  const keys = promised.flatMap((one) => (one.kind === 'payment' ? one.idempotency_key : []))
  const orders = await inPages(ids.map(bare), (page) => db.use((sql) => findOrders(sql, page)))
  const payments = await inPages([...new Set([...keys, ...ledger.payments])], (page) =>
    db.use((sql) => findPayments(sql, page)),
  )
  const order_by_id = new Map(orders.map((order) => [orderId(order.id), order]))
  const payment_by_key = new Map(payments.map((payment) => [payment.idempotency_key, payment]))
  const lost = promised.flatMap((one) => lossOf(one, order_by_id, payment_by_key) ?? [])
  const faults = payments.flatMap((payment) => {
    const order_id = orderId(payment.order_id)
    return paymentFault(payment, order_id, order_by_id.get(order_id), ledger) ?? []
  })

  const report = await verifyShard(engine, db, engine.shardOfProduct(product_id), wait)
  const product = report.products.find(({ id }) => id === product_id)
  const stock = product?.stock
  const committed = orders
    .filter(({ order_status }) => order_status !== 'cancelled')
    .flatMap(({ items }) => items)
    .reduce((sum, { qty }) => sum + qty, 0)
  const total = stock?.total ?? 0
  const taken = (stock?.held ?? 0) + (stock?.pending ?? 0) + (stock?.sold ?? 0)
  return {
    units: total,
    held: ledger.counts.held,
    sold: stock?.sold ?? 0,
    refused: ledger.counts.refused,
    acknowledged: promised.length + adjustments.length,
    lost: [...lost, ...(await lostAdjustments(ledger, db, product_id))],
    oversold: Math.max(0, committed - total, taken - total),
    refused_orders: wronglyRefused(ledger),
    broken: [
      ...ledger.surprises,
      ...faults,
      ...report.differences,
      ...(product?.differences ?? ['the product is gone']),
    ],
  }
}
