import type { Sql } from '../db/client.ts'
import { findShard, raiseShard, type ShardRecord, saveShard } from '../db/shards.ts'
import { createEngine, type Engine } from '../engine/engine.ts'
import { FORM, formOf, readIdentity, UNFINISHED } from '../engine/redis.ts'
import { StartError } from '../errors.ts'
import { finishJournal } from '../journal/recovery.ts'
import type { Writer } from '../journal/writer.ts'
import { rebuildShard } from './rebuild.ts'

/** Advisory locks of the shards follow this number. */
const SHARD_LOCK = 4_863_200_000

/** The advisory lock under which a shard is opened, rebuilt or moved from. */
export const lockOf = (shard: number): number => SHARD_LOCK + shard

export type Rebuilder = ReturnType<typeof createRebuilder>

/** Rebuilds shards in two steps, between which nobody else can use them. Whoever calls these has the lock of the shard. */
export function createRebuilder(options: {
  engine: Engine
  writer: Writer
  say: (message: string) => void
  on_rebuilt?: () => void
}) {
  const { engine, writer, say, on_rebuilt } = options
  const { nodes, keys, shards } = engine

  /** An engine that believes in this epoch, while this process keeps the shard closed for everybody else. */
  function engineAt(shard: number, epoch: number): Engine {
    const { hold_ttl_ms, order_ttl_ms, prefix } = engine
    const other = createEngine({ nodes, shards, hold_ttl_ms, order_ttl_ms, prefix })
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

    /** What the server that has a shard is, and what it has. */
    async readRedis(shard: number): Promise<{ epoch: number; redis_identity: string }> {
      const redis = await nodes.locate(shard)
      const redis_identity = await readIdentity(redis)
      return { redis_identity, epoch: Number(await redis.get(keys.shard(shard, 'epoch'))) }
    },

    /**
     * Raises the epoch of a shard, first of all in PostgreSQL: nobody commits any more what a rebuild would not see. Then
     * finishes its journal. Should this process die now, the next one begins again. Rejects where somebody else has raised
     * it as high: then this process has lost its lock, and the shard is not its own.
     */
    async begin(sql: Sql, shard: number, epoch: number, why: string): Promise<void> {
      say(`shard ${shard}: rebuilding as epoch ${epoch}, because ${why}`)
      await raiseShard(sql, shard, { epoch, redis_identity: UNFINISHED })
      const at_epoch = engineAt(shard, epoch)
      await at_epoch.raiseEpoch(shard)
      await at_epoch.forgetMistyped(shard)
      await finishJournal(engine, writer, shard, 0, epoch)
    },

    /** Rebuilds a shard whose epoch was raised. Rejects where somebody else has raised it again: then it is not open here. */
    async complete(sql: Sql, shard: number, epoch: number, redis_identity: string): Promise<void> {
      const started_ms = performance.now()
      const { holds, dropped, orders } = await rebuildShard(sql, shard, engineAt(shard, epoch))
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
