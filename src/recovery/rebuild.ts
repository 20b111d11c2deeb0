import { setTimeout } from 'node:timers/promises'
import type { Db, Sql } from '../db/client.ts'
import { unpaidOrders } from '../db/orders.ts'
import { parkedPayments, paymentsOfOrders } from '../db/payments.ts'
import { productsOfShard } from '../db/products.ts'
import { saveShardEpoch, shardEpoch } from '../db/shards.ts'
import { createEngine, type Engine } from '../engine/engine.ts'
import type { ShardKey } from '../engine/keys.ts'
import { finishJournal } from '../journal/recovery.ts'
import type { Writer } from '../journal/writer.ts'

/** Advisory locks of the shards follow this number. */
const SHARD_LOCK = 4_863_200_000
const ORDERS_PAGE = 500
const SCAN_COUNT = 1_000
const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 2_000

const COUNTED: ShardKey[] = ['products', 'holds', 'expiry', 'prepaid', 'deadlines', 'buyers', 'parked']

export type Recovery = ReturnType<typeof createRecovery>

/**
 * Recovery: opens shards whose Redis has the epoch that PostgreSQL expects, and rebuilds the others from PostgreSQL. One
 * process rebuilds a shard, under an advisory lock; the others wait for it and go on.
 */
export function createRecovery(options: {
  engine: Engine
  db: Db
  writer: Writer
  say: (message: string) => void
}) {
  const { engine, db, writer, say } = options
  const { redis, keys } = engine
  const opening = new Map<number, Promise<void>>()
  const stopped = new AbortController()

  async function redisEpoch(shard: number): Promise<number> {
    return Number(await redis.get(keys.shard(shard, 'epoch')))
  }

  /** An engine that believes in the new epoch, while this process keeps the shard closed for everybody else. */
  function engineAt(shard: number, epoch: number): Engine {
    const { shards, hold_ttl_ms, order_ttl_ms, prefix } = engine
    const rebuilding = createEngine({ redis, shards, hold_ttl_ms, order_ttl_ms, prefix })
    rebuilding.fence.open(shard, epoch)
    return rebuilding
  }

  /** Drops what PostgreSQL knows better: counters and orders. Holds that were live go with them. */
  async function dropState(shard: number): Promise<void> {
    await redis.unlink(...COUNTED.map((key) => keys.shard(shard, key)))
    for (const pattern of [keys.id(shard, 'order', '*'), keys.id(shard, 'parked_payments', '*')]) {
      let cursor = '0'
      do {
        const [next, found] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT)
        if (found.length > 0) await redis.unlink(...found)
        cursor = next
      } while (cursor !== '0')
    }
  }

  async function loadState(sql: Sql, shard: number, rebuilding: Engine): Promise<void> {
    for (const { id, terms, total, pending, sold } of await productsOfShard(sql, shard)) {
      await rebuilding.loadProduct(shard, id, terms, { total, pending, sold })
      engine.knowProduct(id, shard, terms.hold_ttl_ms)
    }
    let after = ''
    for (;;) {
      const orders = await unpaidOrders(sql, shard, after, ORDERS_PAGE)
      const payments = await paymentsOfOrders(
        sql,
        orders.map(({ id }) => id),
      )
      const seenBy = (id: string) => payments.filter(({ order_id }) => order_id === id)
      await Promise.all(orders.map((order) => rebuilding.loadOrder(shard, order, seenBy(order.id))))
      after = orders.at(-1)?.id ?? ''
      if (orders.length < ORDERS_PAGE) break
    }
    for (const [seq, payment] of (await parkedPayments(sql, shard)).entries()) {
      await rebuilding.loadParked(shard, payment, seq)
    }
  }

  async function rebuild(sql: Sql, shard: number, epoch: number, reason: string): Promise<void> {
    const started_ms = Date.now()
    say(`shard ${shard}: rebuilding from PostgreSQL as epoch ${epoch}, because ${reason}`)
    await redis.set(keys.shard(shard, 'epoch'), epoch)
    await finishJournal(engine, writer, shard, 0)
    await dropState(shard)
    await loadState(sql, shard, engineAt(shard, epoch))
    await saveShardEpoch(sql, shard, epoch)
    say(`shard ${shard}: rebuilt in ${Date.now() - started_ms} ms`)
  }

  /** Whether Redis still has every product that has units in orders, and loads those it has never seen. */
  async function refreshProducts(sql: Sql, shard: number, epoch: number): Promise<boolean> {
    const at_epoch = engineAt(shard, epoch)
    const products = await productsOfShard(sql, shard)
    const has_state = (await redis.exists(keys.shard(shard, 'products'))) === 1
    const has_holds = (await redis.exists(keys.shard(shard, 'holds'))) === 1
    if (!has_state && has_holds) return false
    for (const { id, terms, total, pending, sold } of products) {
      engine.knowProduct(id, shard, terms.hold_ttl_ms)
      const known = await redis.hexists(keys.shard(shard, 'products'), `${id}:total`)
      if (known === 0 && pending + sold > 0) return false
      await at_epoch.loadProduct(shard, id, terms, { total, pending, sold })
    }
    return true
  }

  async function open(shard: number, reason: string): Promise<void> {
    await db.locked(SHARD_LOCK + shard, async (sql) => {
      const known = await shardEpoch(sql, shard)
      const found = await redisEpoch(shard)
      if (known > 0 && found === known && (await refreshProducts(sql, shard, known))) {
        engine.fence.open(shard, known)
        return
      }
      const epoch = Math.max(known, found) + 1
      const why = known === 0 ? 'it is new' : found === known ? 'Redis has lost products' : reason
      await rebuild(sql, shard, epoch, why)
      engine.fence.open(shard, epoch)
    })
  }

  async function openUntilDone(shard: number, reason: string): Promise<void> {
    for (let wait_ms = RETRY_MIN_MS; !stopped.signal.aborted; wait_ms = Math.min(wait_ms * 2, RETRY_MAX_MS)) {
      try {
        return await open(shard, reason)
      } catch (error) {
        say(`shard ${shard}: can not be opened yet: ${(error as Error).message}`)
        await setTimeout(wait_ms, undefined, { signal: stopped.signal }).catch(() => {})
      }
    }
  }

  /** Opens a shard, however long it takes; calls that come meanwhile join in. */
  function reopen(shard: number, reason: string): Promise<void> {
    const running = opening.get(shard)
    if (running) return running
    const promise = openUntilDone(shard, reason).finally(() => opening.delete(shard))
    opening.set(shard, promise)
    return promise
  }

  return {
    reopen,
    /** Opens all shards at the start. Throws what stands in the way. */
    async openAll(): Promise<void> {
      for (let shard = 0; shard < engine.shards; shard += 1) {
        await open(shard, 'Redis has another epoch or none')
      }
    },
    async close(): Promise<void> {
      stopped.abort()
      await Promise.allSettled(opening.values())
    },
  }
}
