import type { Db } from '../db/client.ts'
import { findOrders } from '../db/orders.ts'
import { paymentsOfOrders } from '../db/payments.ts'
import { findProducts } from '../db/products.ts'
import type { Engine } from '../engine/engine.ts'
import type { Order } from '../engine/records.ts'
import { UnavailableError } from '../errors.ts'
import { gather } from '../gather.ts'

const MAX_BATCH = 256
const MAX_IN_FLIGHT = 1
const MAX_WAITING = 10_000
/** No shard has this epoch. */
const NEVER = 0

export type Lookup = ReturnType<typeof createLookup>

/** What Redis does not know, asked of PostgreSQL: all questions that gather go out as one query. */
export function createLookup(options: { db: Db; engine: Engine }) {
  const { db, engine } = options
  const limits = { max_batch: MAX_BATCH, max_in_flight: MAX_IN_FLIGHT, max_waiting: MAX_WAITING }

  const orders = gather<string, Order | undefined>({
    ...limits,
    run: async (ids) => {
      const found = await db.use((sql) => findOrders(sql, ids))
      const by_id = new Map(found.map((order) => [order.id, order]))
      return ids.map((id) => by_id.get(id))
    },
  })

  const products = gather<number, { id: number; shard: number } | undefined>({
    ...limits,
    run: async (ids) => {
      const found = await db.use((sql) => findProducts(sql, ids))
      const by_id = new Map(found.map((product) => [product.id, product]))
      return ids.map((id) => by_id.get(id))
    },
  })

  /**
   * The order as PostgreSQL has it, where its products have moved away from the shard that its id names: that one has nothing to say of it
   * any more. Otherwise throws the error with which Redis was asked in vain.
   */
  async function findMoved(id: string, error: unknown): Promise<Order> {
    if (!(error instanceof UnavailableError) || !engine.mayHaveMoved(id)) throw error
    const order = await orders.add(id)
    if (!order || !engine.hasMoved(order)) throw error
    return order
  }

  return {
    /** The order as PostgreSQL has it. Rejects with UnavailableError when PostgreSQL is away. */
    findOrder: (id: string) => orders.add(id),

    /** The order as Redis has it, or else PostgreSQL. Rejects with UnavailableError where one that is away may know better. */
    async readOrder(id: string): Promise<Order | undefined> {
      try {
        return (await engine.readOrder(id)) ?? (await orders.add(id))
      } catch (error) {
        return findMoved(id, error)
      }
    },

    /**
     * What a step answers that failed because a shard is away, where its order has moved from there: that Redis does not know it. It
     * can be loaded then, and the step be taken again. Otherwise throws the same error.
     */
    async unknownIfMoved(id: string, error: unknown): Promise<{ status: 'unknown_order' }> {
      await findMoved(id, error)
      return { status: 'unknown_order' }
    },

    /** Brings an order that Redis has forgotten back into Redis, with its payments. Returns whether there is one. */
    async loadOrder(id: string): Promise<boolean> {
      const epochs = engine.fence.lastEpochs()
      const order = await orders.add(id)
      if (!order) return false
      const payments = await db.use((sql) => paymentsOfOrders(sql, [id]))
      // It lives with its products, wherever they have moved.
      const [item] = order.items
      if (!item) return true
      const shard = engine.shardOfProduct(item.product_id)
      await engine.loadOrder(shard, order, payments, epochs.get(shard) ?? NEVER)
      return true
    },

    /**
     * Whether a product that Redis does not know exists all the same. Then Redis has lost it and the fence closes. One that is
     * being created and has not come to Redis yet does not exist for anybody.
     */
    async isProduct(product_id: number): Promise<boolean> {
      const product = await products.add(product_id)
      if (!product) return false
      engine.fence.close(product.shard, `Redis does not know product ${product_id}`, 'state')
      return true
    },
  }
}
