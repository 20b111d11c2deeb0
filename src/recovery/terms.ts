import { randomUUID } from 'node:crypto'
import type { Db, Sql } from '../db/client.ts'
import { advance, countCommit, createMark, type Mark, PastError } from '../db/marks.ts'
import type { ProductRecord } from '../db/products.ts'
import { markLoaded, termsLeft } from '../db/terms.ts'
import type { Engine } from '../engine/engine.ts'
import { findAhead, recallOpen } from '../journal/past.ts'

export type Publisher = ReturnType<typeof createPublisher>

/**
 * Brings terms of sale that PostgreSQL has committed to Redis. Redis keeps the highest version, so it does not matter who comes
 * first; PostgreSQL remembers which version came through, so that a sweeper finishes what a process left behind.
 */
export function createPublisher(options: {
  db: Db
  engine: Engine
  /** How far its commits have come. */
  mark?: Mark
  /** All marks of this process, to which PostgreSQL must have come up. */
  marks?: Mark[]
  /** Hears that PostgreSQL lacks what it had committed. */
  on_past?: () => void
}) {
  const { db, engine, mark = createMark(randomUUID()), marks = [mark], on_past } = options

  /**
   * Runs a transaction that changes products, as a commit that counts: one that PostgreSQL loses is noticed, and none is made by what
   * a PostgreSQL from the past has to say. Rejects with UnavailableError.
   */
  async function change<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result> {
    let count = 0
    try {
      const result = await db.transaction(async (sql) => {
        // Those that Redis knows too: it may have been another process that was told what PostgreSQL has lost.
        const ahead = await findAhead(sql, marks, () => recallOpen(engine))
        if (ahead.length > 0) throw new PastError()
        const done = await work(sql)
        // Last of all: other changes wait here until this one is over.
        count = await countCommit(sql, mark)
        return done
      })
      advance(mark, count)
      return result
    } catch (error) {
      if ((error as Error).cause instanceof PastError) on_past?.()
      throw error
    }
  }

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
    await engine.journal.noteMark(shard, mark)
    await db.use((sql) => markLoaded(sql, id, version))
    return true
  }

  return {
    change,
    publish,
    /** Publishes what another process committed and did not bring to Redis, in the shards that are open. */
    async publishLeft(): Promise<void> {
      const all = Array.from({ length: engine.shards }, (_, shard) => shard)
      const open = all.filter((shard) => engine.fence.isOpen(shard))
      const left = await db.use((sql) => termsLeft(sql, open))
      // Neither a shard that does not answer nor a product that can not be loaded holds up any other.
      const published = left.map(({ is_new, ...product }) => publish(product, is_new))
      const failed = (await Promise.allSettled(published)).find(({ status }) => status === 'rejected')
      if (failed?.status === 'rejected') throw failed.reason
    },
  }
}
