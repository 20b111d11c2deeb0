import type { Sql } from '../db/client.ts'
import { knownOrderIds, ordersInShard, unpaidOrders } from '../db/orders.ts'
import { parkedPayments, paymentsOfOrders } from '../db/payments.ts'
import { type ProductRecord, productsOfShard } from '../db/products.ts'
import type { Engine } from '../engine/engine.ts'
import { isId } from '../engine/ids.ts'
import type { StoredHold } from '../engine/rebuilding.ts'
import type { Hold, Order, Payment } from '../engine/records.ts'
import { isBroken } from '../engine/run.ts'

const ORDERS_PAGE = 500

export type Rebuilt = { holds: number; dropped: number; orders: number }
type Survivors = { kept: StoredHold[]; dropped: Array<{ hold: StoredHold; is_remembered: boolean }> }

/** Whether a record is one that the scripts write. Any other is nobody's hold, and nothing may be asked in its name. */
const isReadable = ({ id, items, created_at_ms }: Hold): boolean =>
  isId(id) &&
  Number.isFinite(created_at_ms) &&
  items.length > 0 &&
  items.every(({ product_id, qty, unit_amount }) => product_id > 0 && qty > 0 && unit_amount >= 0)

/** Ids of holds that a parked success paid for in full while they lived: they do not expire. */
function paidFor(holds: Hold[], parked: Payment[]): Set<string> {
  if (parked.length === 0) return new Set()
  const by_id = new Map(holds.map((hold) => [hold.id, hold]))
  const paying = parked.filter(({ order_id, status, amount, currency, created_at_ms }) => {
    const hold = by_id.get(order_id)
    return (
      hold !== undefined &&
      status === 'success' &&
      created_at_ms < hold.expires_at_ms &&
      (amount ?? hold.amount) === hold.amount &&
      (currency ?? hold.currency) === hold.currency
    )
  })
  return new Set(paying.map(({ order_id }) => order_id))
}

/**
 * Which holds go on: those that are alive and not orders already, as long as there are units for them; first those whose
 * money has come, then the earliest. What does not fit beside the orders of PostgreSQL is dropped and remembered as gone.
 * Holds of products that live in another shard are what a move has left here, or brought here before it broke off: they go
 * on there.
 */
export function chooseSurvivors(
  holds: StoredHold[],
  orders: Set<string>,
  paid: Set<string>,
  products: ProductRecord[],
  now_ms: number,
): Survivors {
  const free = new Map(products.map(({ id, total, pending, sold }) => [id, total - pending - sold]))
  const survivors: Survivors = { kept: [], dropped: [] }
  const byAge = (one: StoredHold, other: StoredHold) => one.created_at_ms - other.created_at_ms
  const first = holds.filter(({ id }) => paid.has(id)).sort(byAge)
  const others = holds.filter(({ id }) => !paid.has(id)).sort(byAge)
  for (const hold of [...first, ...others]) {
    const is_over = orders.has(hold.id) || (hold.expires_at_ms <= now_ms && !paid.has(hold.id))
    const is_elsewhere = hold.items.some(({ product_id }) => !free.has(product_id))
    const fits = hold.items.every(({ product_id, qty }) => (free.get(product_id) ?? 0) >= qty)
    if (is_over || !fits) {
      const is_remembered = !is_over && !is_elsewhere && hold.expires_at_ms > now_ms
      survivors.dropped.push({ hold, is_remembered })
      continue
    }
    for (const { product_id, qty } of hold.items) free.set(product_id, (free.get(product_id) ?? 0) - qty)
    survivors.kept.push(hold)
  }
  return survivors
}

/** Works on each page while the next one is read: Redis, PostgreSQL and this process go on at the same time. */
async function eachPage<Page>(
  pages: AsyncGenerator<Page>,
  work: (page: Page) => Promise<unknown>,
): Promise<void> {
  for (let next = await pages.next(); !next.done; ) {
    const [after] = await Promise.all([pages.next(), work(next.value)])
    next = after
  }
}

/** All holds of a shard, those that nobody can read apart, and the ids of those that are orders by now. */
async function readHolds(sql: Sql, shard: number, engine: Engine) {
  const holds: StoredHold[] = []
  const unreadable: StoredHold[] = []
  const ordered = new Set<string>()
  await eachPage(engine.holdPages(shard), async (page) => {
    for (const hold of page) (isReadable(hold) ? holds : unreadable).push(hold)
    const ids = page.filter(isReadable).map(({ id }) => id)
    for (const id of await knownOrderIds(sql, ids)) ordered.add(id)
  })
  return { holds, unreadable, ordered }
}

function heldUnits(kept: Hold[]): Map<number, number> {
  const held = new Map<number, number>()
  for (const { items } of kept) {
    for (const { product_id, qty } of items) held.set(product_id, (held.get(product_id) ?? 0) + qty)
  }
  return held
}

/** Units of customers, as the shard's buyers name them. */
function createBuyers(products: ProductRecord[]) {
  const limited = new Set(products.filter(({ terms }) => terms.max_per_customer !== null).map(({ id }) => id))
  const units = new Map<string, number>()
  return {
    units,
    /** Counts what a hold or an unpaid order has of products with a limit. */
    count({ items, customer_id }: Pick<Hold, 'items' | 'customer_id'>): void {
      if (customer_id === null) return
      for (const { product_id, qty } of items) {
        if (!limited.has(product_id)) continue
        const buyer = `${product_id}:${customer_id}`
        units.set(buyer, (units.get(buyer) ?? 0) + qty)
      }
    },
  }
}

type PaidOrder = { order: Order; payments: Payment[] }

/** Orders with the payments that they have seen. */
async function withPayments(sql: Sql, orders: Order[]): Promise<PaidOrder[]> {
  const ids = orders.map(({ id }) => id)
  const payments = new Map<string, Payment[]>(ids.map((id) => [id, []]))
  for (const payment of await paymentsOfOrders(sql, ids)) payments.get(payment.order_id)?.push(payment)
  return orders.map((order) => ({ order, payments: payments.get(order.id) ?? [] }))
}

/** The unpaid orders of a shard. */
async function* unpaidPages(sql: Sql, shard: number): AsyncGenerator<PaidOrder[]> {
  for (let after = '', are_more = true; are_more; ) {
    const orders = await unpaidOrders(sql, shard, after, ORDERS_PAGE)
    yield withPayments(sql, orders)
    after = orders.at(-1)?.id ?? ''
    are_more = orders.length === ORDERS_PAGE
  }
}

/**
 * Settles parked payments whose order PostgreSQL has: they came while Redis did not know of it, since it had lost its last writes, and
 * its hold was live there once more. What is broken stays parked, and holds up no rebuild.
 */
async function settleOrdered(sql: Sql, shard: number, engine: Engine, parked: Payment[]): Promise<void> {
  const ids = [...new Set(parked.map(({ order_id }) => order_id))]
  for (let at = 0; at < ids.length; at += ORDERS_PAGE) {
    const orders = await ordersInShard(sql, shard, ids.slice(at, at + ORDERS_PAGE))
    const settled = (await withPayments(sql, orders)).map(async ({ order, payments }) => {
      await engine.loadOrder(shard, order, payments)
      await engine.settleParkedOf(shard, order.id).catch((error: Error) => {
        if (!isBroken(error)) throw error
      })
    })
    await Promise.all(settled)
  }
}

/** Loads parked payments, those of one order in the order of their coming. */
async function loadParked(shard: number, engine: Engine, parked: Payment[]): Promise<void> {
  const arrived = new Map<string, number>()
  for (let at = 0; at < parked.length; at += ORDERS_PAGE) {
    const loads = parked.slice(at, at + ORDERS_PAGE).map((payment) => {
      const seq = arrived.get(payment.order_id) ?? 0
      arrived.set(payment.order_id, seq + 1)
      return engine.loadParked(shard, payment, seq)
    })
    await Promise.all(loads)
  }
}

/**
 * Rebuilds a shard under the epoch in which `engine` believes and nobody else does yet: totals and committed units from
 * PostgreSQL, holds as they survived in Redis, unpaid orders and parked payments from PostgreSQL. What is over is not looked at, however
 * much there is: orders and results of earlier epochs count no more. What Redis knows stays there until it is loaded again, since PostgreSQL may
 * lose it meanwhile. The journal must have been finished before.
 */
export async function rebuildShard(sql: Sql, shard: number, engine: Engine): Promise<Rebuilt> {
  await engine.forgetOrders(shard)
  const now_ms = await engine.clearShard(shard)
  const products = await productsOfShard(sql, shard)
  const parked = await parkedPayments(sql, shard)
  const { holds, unreadable, ordered } = await readHolds(sql, shard, engine)
  const paid = paidFor(holds, parked)
  const { kept, dropped } = chooseSurvivors(holds, ordered, paid, products, now_ms)
  const nobodys = unreadable.map((hold) => ({ hold, is_remembered: false }))
  await engine.dropHolds(shard, [...dropped, ...nobodys])
  const held = heldUnits(kept)
  const loads = products.map(({ id, terms, total, pending, sold, version }) => {
    return { id, terms, counts: { total, held: held.get(id) ?? 0, pending, sold, version } }
  })
  await engine.loadProducts(shard, loads)
  await engine.loadHolds(shard, kept, paid)
  const buyers = createBuyers(products)
  for (const hold of kept) buyers.count(hold)
  let orders = 0
  await eachPage(unpaidPages(sql, shard), async (page) => {
    for (const { order } of page) buyers.count(order)
    orders += page.length
    await Promise.all(page.map(({ order, payments }) => engine.loadOrder(shard, order, payments)))
  })
  await engine.loadBuyers(shard, buyers.units)
  await loadParked(shard, engine, parked)
  await settleOrdered(sql, shard, engine, parked)
  await engine.forgetBefore(shard)
  return { holds: kept.length, dropped: dropped.length + nobodys.length, orders }
}
