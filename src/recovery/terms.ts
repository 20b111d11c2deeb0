import type { Db } from '../db/client.ts'
import type { ProductRecord } from '../db/products.ts'
import { markLoaded, termsLeft } from '../db/terms.ts'
import type { Engine } from '../engine/engine.ts'

export type Publisher = ReturnType<typeof createPublisher>

/**
 * Brings terms of sale that PostgreSQL has committed to Redis. Redis keeps the highest version, so it does not matter who comes
 * first; PostgreSQL remembers which version came through, so that a sweeper finishes what a process left behind.
 */
export function createPublisher(options: { db: Db; engine: Engine }) {
  const { db, engine } = options

  /** Returns false where the shard has to be rebuilt first: then it is closed, and what opens it again loads the terms. */
  async function publish(product: ProductRecord, is_new: boolean): Promise<boolean> {
    const { id, terms, total, version } = product
    engine.knowProduct(id, product.shard, terms.hold_ttl_ms)
    // It may have moved since it was read.
    const shard = engine.shardOfProduct(id)
    const result = await engine.loadProduct(shard, id, terms, { total: is_new ? total : null, version })
    if (result === 'recount' || result === 'unknown') {
      if (result === 'unknown') engine.fence.close(shard, `Redis does not know product ${id}`, 'state')
      else engine.fence.close(shard, `product ${id} is limited by customer from now on`, 'wrong')
      return false
    }
    await db.use((sql) => markLoaded(sql, id, version))
    return true
  }

  return {
    publish,
    /** Publishes what another process committed and did not bring to Redis, in the shards that are open. */
    async publishLeft(): Promise<void> {
      for (const { is_new, ...product } of await db.use(termsLeft)) {
        if (engine.fence.isOpen(product.shard)) await publish(product, is_new)
      }
    },
  }
}
