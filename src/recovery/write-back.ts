import { isDeepStrictEqual } from 'node:util'
import { recordAdjustments } from '../db/adjustments.ts'
import { inTransaction, isOwnFault, type Sql } from '../db/client.ts'
import { findHistories, upsertOrders } from '../db/orders.ts'
import { findPayments, isWrittenBy, upsertPayments } from '../db/payments.ts'
import { hasProducts, lockProducts, type ProductRecord } from '../db/products.ts'
import { markLoaded } from '../db/terms.ts'
import {
  noteLosses,
  recordedProducts,
  restoreProduct,
  restoreTerms,
  settleShard,
  skipIds,
  unrecorded,
} from '../db/write-back.ts'
import type { Engine } from '../engine/engine.ts'
import { orderId } from '../engine/ids.ts'
import { type Adjustment, formatOrder, type Payment } from '../engine/records.ts'
import type { KeyedChange, RememberedOrder, RememberedProduct } from '../engine/remembered.ts'

/** What a change of stock says for itself that nobody asked for under a key that is still known. */
const REASON = 'written again from Redis, after PostgreSQL had lost it'

/** Orders written at once. */
const ORDERS_PAGE = 500

const shelfless = (id: number) => `product ${id} was written again; whether it stood on a shelf is not known`

/** How much was written again, and what could not be. */
export type WrittenBack = { orders: number; payments: number; products: number; losses: string[] }

/**
 * Writes again what the Redis of a shard knows and PostgreSQL has lost: products, terms, changes of stock, orders, payments. Redis must
 * be closed to everybody. Nothing that PostgreSQL has is overwritten by what does not come of it; what contradicts it, and
 * what can not be told, is noted for an operator. May be done again after it broke off.
 * @param is_recorded whether it is the Redis that the shard had last, which has lost nothing of its own
 */
export async function writeBack(
  sql: Sql,
  shard: number,
  engine: Engine,
  is_recorded: boolean,
): Promise<WrittenBack> {
  const { remembered } = engine
  const done: WrittenBack = { orders: 0, payments: 0, products: 0, losses: [] }
  const later: Adjustment[] = []
  /** Where products live that are not here: PostgreSQL does not know that they have moved. */
  const shards = new Map<number, number>()

  /** Products first, with all their units: PostgreSQL's floor would else refuse their orders. */
  async function writeProducts(): Promise<void> {
    const products = await remembered.products(shard)
    if (products.length === 0 && (await hasProducts(sql, shard))) {
      done.losses.push('Redis knew nothing any more of what PostgreSQL has lost')
    }
    const changes: KeyedChange[] = []
    for await (const page of remembered.changes(shard)) changes.push(...(await unrecorded(sql, page)))
    const recorded = await recordedProducts(
      sql,
      products.map(({ id }) => id),
    )
    for (const product of products) {
      const { id, total } = product
      const own = changes.filter(({ product_id }) => product_id === id)
      const changed = own.reduce((sum, { delta }) => sum + delta, 0)
      const known = recorded.get(id)
      await inTransaction(sql, async () => {
        if (!known) {
          await restoreProduct(sql, shard, product, total - changed)
          done.products += 1
          // With the product: should this break off, the next attempt finds it and has nothing to say.
          await noteLosses(sql, shard, [shelfless(id)])
        } else {
          if (known.shard !== shard) {
            shards.set(id, known.shard)
            done.losses.push(
              `product ${id} had moved to shard ${shard}, and is in shard ${known.shard} again`,
            )
          }
          done.products += await writeTerms(known, product)
        }
        // What has no key any more is one change: orders may have been made of its units.
        const rest = known?.shard === shard ? total - known.total - changed : 0
        if (rest !== 0 && !is_recorded) {
          done.losses.push(
            `Redis had ${rest} units more of product ${id} than PostgreSQL, and may have lost changes itself`,
          )
        }
        const unnamed =
          rest === 0 || !is_recorded
            ? []
            : [{ product_id: id, idempotency_key: `recovered ${Date.now()}`, delta: rest }]
        const adjustments = [...own, ...unnamed].map((change) => ({
          ...change,
          reason: REASON,
          created_at_ms: Date.now(),
        }))
        await recordAdjustments(
          sql,
          adjustments.filter(({ delta }) => delta > 0),
        )
        // Units that were taken out go last, when all orders that were cancelled are written.
        later.push(...adjustments.filter(({ delta }) => delta < 0))
      })
    }
    await skipIds(sql, Math.max(1, ...products.map(({ id }) => id)))
  }

  /** Writes the terms of a product that is recorded, where Redis has others. Returns how many products that were. */
  async function writeTerms(known: ProductRecord, product: RememberedProduct): Promise<number> {
    const { id, terms, version } = product
    await markLoaded(sql, id, version)
    if (known.version > version) return 0
    if (known.version === version) {
      if (isDeepStrictEqual(known.terms, terms)) return 0
      // They were written since PostgreSQL came back, and never came to Redis: nobody has bought under them.
      await noteLosses(sql, shard, [
        `PostgreSQL had product ${id} as ${JSON.stringify(known.terms)}, which Redis never had`,
      ])
    }
    await restoreTerms(sql, { id, terms, version: known.version === version ? version + 1 : version })
    return 1
  }

  const writeOrders = (found: RememberedOrder[]) =>
    inTransaction(sql, async () => {
      const products = found.flatMap(({ order }) => order.items.map(({ product_id }) => product_id))
      await lockProducts(sql, [...new Set(products)])
      done.orders += await upsertOrders(
        sql,
        found.map(({ order }) => ({ shard: shards.get(order.items[0]?.product_id ?? 0) ?? shard, order })),
      )
      done.payments += await upsertPayments(
        sql,
        found.flatMap(({ payments }) => payments.map((payment) => ({ shard, payment }))),
      )
    })

  const writeParked = (payments: Payment[]) =>
    inTransaction(sql, async () => {
      done.payments += await upsertPayments(
        sql,
        payments.map((payment) => ({ shard, payment })),
      )
    })

  /** All of a page, or each for itself where one of them contradicts what PostgreSQL has. */
  async function writeEach<Thing>(
    page: Thing[],
    write: (things: Thing[]) => Promise<void>,
    tell: (thing: Thing) => string,
  ): Promise<void> {
    try {
      await write(page)
    } catch (error) {
      if (!isOwnFault(error)) throw error
      for (const one of page) {
        await write([one]).catch((refused: Error) => {
          if (!isOwnFault(refused)) throw refused
          done.losses.push(`${tell(one)}: ${refused.message}`)
        })
      }
    }
  }
  const tellOrder = ({ order, payments }: RememberedOrder) =>
    `Redis had order ${orderId(order.id)} as ${formatOrder(order)}, with ${JSON.stringify(payments)}`
  const tellPayment = (payment: Payment) => `Redis had the parked payment ${JSON.stringify(payment)}`

  /** Those of a page of which PostgreSQL does not have all. */
  async function missing(page: RememberedOrder[]): Promise<RememberedOrder[]> {
    const histories = await findHistories(
      sql,
      page.map(({ order }) => order.id),
    )
    const keys = page.flatMap(({ payments }) => payments.map(({ idempotency_key }) => idempotency_key))
    const rows = new Map((await findPayments(sql, keys)).map((row) => [row.idempotency_key, row]))
    return page.filter(
      ({ order, payments }) =>
        histories.get(order.id) !== order.history ||
        !payments.every((payment) => isWrittenBy(payment, rows.get(payment.idempotency_key))),
    )
  }

  const tell = (what: string) => void done.losses.push(what)
  await writeProducts()
  // Those that free units go before those that need them.
  const others: RememberedOrder[] = []
  for await (const page of remembered.orders(shard, tell)) {
    const wanted = await missing(page)
    const freeing = wanted.filter(({ order }) => order.order_status === 'cancelled')
    others.push(...wanted.filter(({ order }) => order.order_status !== 'cancelled'))
    if (freeing.length > 0) await writeEach(freeing, writeOrders, tellOrder)
  }
  for (let at = 0; at < others.length; at += ORDERS_PAGE) {
    await writeEach(others.slice(at, at + ORDERS_PAGE), writeOrders, tellOrder)
  }
  for (const change of later) {
    await writeEach(
      [change],
      (changes) => inTransaction(sql, () => recordAdjustments(sql, changes)),
      (one) => `Redis had ${-one.delta} units less of product ${one.product_id}`,
    )
  }
  for await (const page of remembered.parked(shard, tell)) await writeEach(page, writeParked, tellPayment)
  for await (const page of remembered.paymentKeys(shard)) {
    const known = await findPayments(
      sql,
      page.map(({ idempotency_key }) => idempotency_key),
    )
    const keys = new Set(known.map(({ idempotency_key }) => idempotency_key))
    for (const { idempotency_key, order_id } of page) {
      if (keys.has(idempotency_key)) continue
      done.losses.push(
        `payment ${idempotency_key} of ${orderId(order_id)} came; what became of it is not known`,
      )
    }
  }
  await inTransaction(sql, async () => {
    await noteLosses(sql, shard, done.losses)
    await settleShard(sql, shard)
  })
  return done
}
