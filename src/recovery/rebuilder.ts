import { inTransaction, type Sql } from '../db/client.ts'
import { isBehind, type Mark, noteBehind } from '../db/marks.ts'
import { productsOfShard } from '../db/products.ts'
import { findShard, highestEpoch, raiseShard, type ShardRecord, saveShard } from '../db/shards.ts'
import { noteLosses } from '../db/write-back.ts'
import { createEngine, type Engine } from '../engine/engine.ts'
import { parseEpoch, readEpoch } from '../engine/epochs.ts'
import { FORM, formOf, readIdentity, UNFINISHED, unfinishedOn } from '../engine/redis.ts'
import { StartError } from '../errors.ts'
import { findAhead } from '../journal/past.ts'
import { finishJournal } from '../journal/recovery.ts'
import type { Writer } from '../journal/writer.ts'
import { rebuildShard } from './rebuild.ts'
import { writeBack } from './write-back.ts'

/** Advisory locks of the shards follow this number. */
const SHARD_LOCK = 4_863_200_000

/** The advisory lock under which a shard is opened, rebuilt or moved from. */
export const lockOf = (shard: number): number => SHARD_LOCK + shard

/** A shard as its Redis has it. */
export type Found = { epoch: number; installation: string; redis_identity: string }

/** Whether it is the Redis that PostgreSQL knew last, or one of which it had known before it came back from the past. */
const isRecorded = (known: ShardRecord, { epoch, redis_identity }: Found): boolean =>
  [redis_identity, unfinishedOn(redis_identity)].includes(known.redis_identity) || epoch > known.epoch

export type Rebuilder = ReturnType<typeof createRebuilder>

/** Rebuilds shards in two steps, between which nobody else can use them. Whoever calls these has the lock of the shard. */
export function createRebuilder(options: {
  engine: Engine
  writer: Writer
  say: (message: string) => void
  on_rebuilt?: () => void
}) {
  const { engine, writer, say, on_rebuilt } = options
  const { nodes, keys, shards, installation } = engine

  /** An engine that believes in this epoch, while this process keeps the shard closed for everybody else. */
  function engineAt(shard: number, epoch: number): Engine {
    const { hold_ttl_ms, order_ttl_ms, prefix } = engine
    const other = createEngine({ nodes, shards, hold_ttl_ms, order_ttl_ms, prefix, installation })
    other.fence.open(shard, epoch)
    return other
  }

  /**
   * Throws where a rebuild has not seen all of a shard: its slot is being moved, so that one server has some of its keys and
   * another one the others, or it was moved or lost meanwhile. Redis refuses a command with keys of which some are missing
   * while they move.
   */
  async function checkWhole(shard: number, redis_identity: string): Promise<void> {
    const redis = nodes.of(shard)
    await redis.exists(keys.shard(shard, 'epoch'), keys.id(shard, 'order', ''))
    if ((await readIdentity(redis)) !== redis_identity) throw new Error('another Redis took over meanwhile')
  }

  /** What the server that has a shard is, and what it has. */
  async function readRedis(shard: number): Promise<Found> {
    const redis = await nodes.locate(shard)
    const redis_identity = await readIdentity(redis)
    return { redis_identity, ...parseEpoch(await readEpoch(redis, keys.shard(shard, 'epoch'))) }
  }

  /** Tells PostgreSQL what it has lost. */
  async function bringUp(sql: Sql, shard: number, is_recorded: boolean): Promise<void> {
    const { products, orders, payments, losses } = await writeBack(sql, shard, engine, is_recorded)
    const counts = `${products} products, ${orders} orders and ${payments} payments`
    say(`shard ${shard}: PostgreSQL came back from the past, and was told ${counts} again`)
    for (const loss of losses) say(`shard ${shard}: ${loss}`)
  }

  /**
   * Throws where a product of this shard may have been sold in another one that has not told PostgreSQL of it yet, because this one does not
   * know it or counts more than PostgreSQL: that would be sold here again.
   */
  async function awaitOthers(sql: Sql, shard: number): Promise<void> {
    if (!(await isBehind(sql))) return
    const products = await productsOfShard(sql, shard)
    const read = (field: string) =>
      engine.readFields(
        shard,
        'products',
        products.map(({ id }) => `${id}:${field}`),
      )
    const [pending, sold] = await Promise.all([read('pending'), read('sold')])
    const elsewhere = products.find((product, at) => {
      const [own_pending, own_sold] = [pending[at] ?? null, sold[at] ?? null]
      if (own_pending === null || own_sold === null) return true
      return Number(own_pending) + Number(own_sold) > product.pending + product.sold
    })
    if (!elsewhere) return
    throw new Error(`product ${elsewhere.id} may have been in a shard that PostgreSQL has to hear first`)
  }

  return {
    engineAt,

    /** What PostgreSQL knows of a shard. Throws StartError where a newer version keeps it in another form. */
    async findRecord(sql: Sql, shard: number): Promise<ShardRecord> {
      const known = await findShard(sql, shard)
      if (formOf(known.redis_identity) > FORM) {
        throw new StartError(`shard ${shard} has the form of a newer version: start that version`)
      }
      return known
    },

    readRedis,

    /**
     * The epoch in which a shard is rebuilt: above that of each shard, since orders that were made in another one may come to live here, and
     * what they name as the epochs of their transitions has to be over.
     */
    async nextEpoch(sql: Sql, known: ShardRecord, found: Found): Promise<number> {
      return Math.max(known.epoch, found.epoch, await highestEpoch(sql)) + 1
    },

    /** Throws StartError where the Redis of a shard belongs to somebody else. Nothing of it may be touched. */
    refuseStranger(known: ShardRecord, found: Found): void {
      const is_own = found.installation === installation
      // One that names nobody is of version 0.1: its own database has a record of it.
      if (is_own || found.epoch === 0 || (found.installation === '' && known.epoch > 0)) return
      throw new StartError(
        'Redis belongs to another installation: give this one a Redis of its own, or the database that belongs to that Redis',
      )
    },

    /**
     * Finds out whether PostgreSQL lacks what these marks or those of a shard's Redis remember, or has not come up to the epoch of
     * that Redis, which PostgreSQL hears of first. Then it notes that all shards have to tell it. Returns what PostgreSQL knows of the
     * shard by then.
     */
    async lookBack(
      sql: Sql,
      shard: number,
      marks: Mark[],
      known: ShardRecord,
      found: Found,
    ): Promise<ShardRecord> {
      const ahead = await findAhead(sql, marks, () => engine.remembered.marks(shard))
      const is_early = installation !== '' && found.installation === installation && found.epoch > known.epoch
      if (ahead.length === 0 && (known.is_behind || !is_early)) return known
      say(`PostgreSQL has come back from the past: it lacks commits of ${ahead.length} writers`)
      const losses = ahead.map(
        ({ writer, commits }) =>
          `PostgreSQL came back from the past: it had fewer than ${commits} commits of ${writer}`,
      )
      await inTransaction(sql, async () => {
        await noteBehind(sql, ahead, shards)
        await noteLosses(sql, shard, losses)
      })
      return findShard(sql, shard)
    },

    /**
     * Raises the epoch of a shard, first of all in PostgreSQL: nobody commits any more what a rebuild would not see. Then
     * finishes its journal. Should this process die now, the next one begins again. Rejects where somebody else has raised
     * it as high: then this process has lost its lock, and the shard is not its own.
     */
    async begin(sql: Sql, shard: number, epoch: number, why: string): Promise<void> {
      say(`shard ${shard}: rebuilding as epoch ${epoch}, because ${why}`)
      const before = await findShard(sql, shard)
      const found = before.is_behind ? await readRedis(shard) : undefined
      const is_recorded = found !== undefined && isRecorded(before, found)
      // Should this break off, the next one shall still know it.
      const redis_identity = is_recorded ? unfinishedOn(found.redis_identity) : UNFINISHED
      await raiseShard(sql, shard, { epoch, redis_identity })
      const at_epoch = engineAt(shard, epoch)
      await at_epoch.raiseEpoch(shard)
      await at_epoch.forgetMistyped(shard)
      if (found) await bringUp(sql, shard, is_recorded)
      await finishJournal(engine, writer, shard, { epoch })
    },

    /** Rebuilds a shard whose epoch was raised. Rejects where somebody else has raised it again: then it is not open here. */
    async complete(sql: Sql, shard: number, epoch: number, redis_identity: string): Promise<void> {
      const started_ms = performance.now()
      await awaitOthers(sql, shard)
      const { holds, dropped, orders } = await rebuildShard(sql, shard, engineAt(shard, epoch))
      // Payments may have found their order.
      await finishJournal(engine, writer, shard, { epoch })
      await checkWhole(shard, redis_identity)
      await saveShard(sql, shard, { epoch, redis_identity })
      on_rebuilt?.()
      const took_ms = Math.round(performance.now() - started_ms)
      say(
        `shard ${shard}: rebuilt in ${took_ms} ms: kept ${holds} holds, dropped ${dropped}, loaded ${orders} unpaid orders`,
      )
    },
  }
}
