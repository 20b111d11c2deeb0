import { setTimeout } from 'node:timers/promises'
import type { Db, Sql } from '../db/client.ts'
import { isUsed } from '../db/marks.ts'
import { findMoves } from '../db/moves.ts'
import { productsOfShard } from '../db/products.ts'
import { findShard, highestShard, type ShardRecord } from '../db/shards.ts'
import type { Engine } from '../engine/engine.ts'
import type { Doubt } from '../engine/fence.ts'
import { policyFault } from '../engine/settings.ts'
import { StartError } from '../errors.ts'
import { type Found, lockOf, type Rebuilder } from './rebuilder.ts'
import { createWatch, type Marks } from './watch.ts'

const RETRY_MIN_MS = 50
const RETRY_MAX_MS = 500
const START_TRIES = 5
/** A shard of a cluster that can not be opened keeps the others waiting no longer. */
const CLUSTER_START_TRIES = 2
const NOT_AT_START = 'it could not be opened at the start'
/** Each shard that is opened has a connection to PostgreSQL of its own. */
const MAX_OPENING = 4

/** What Redis can not even make sense of has to be rebuilt; any other failure is thrown again. */
function isBroken(error: Error): true {
  if (/BROKEN|WRONGTYPE/.test(error.message)) return true
  throw error
}

export type Recovery = ReturnType<typeof createRecovery>

/**
 * Recovery: opens shards whose Redis is what PostgreSQL expects, and rebuilds the others. The fence closes whenever Redis
 * may not be what it was: its connection broke, it is another server than before, it has another epoch or none, it has
 * lost a product, or PostgreSQL refused an order. One process rebuilds a shard, under an advisory lock; the others wait
 * for it and go on.
 */
export function createRecovery(options: {
  engine: Engine
  db: Db
  rebuilder: Rebuilder
  marks: Marks
  say: (message: string) => void
}) {
  const { engine, db, rebuilder, marks, say } = options
  const { nodes, keys, fence, shards } = engine
  const opening = new Map<number, Promise<void>>()
  const last_opened = new Map<number, { epoch: number; redis_identity: string }>()
  const stopped = new AbortController()
  let watching: Promise<void> | undefined
  let stopHearing = () => {}
  const all = Array.from({ length: shards }, (_, shard) => shard)
  const watch = createWatch({
    engine,
    db,
    marks,
    identityOf: (shard) => last_opened.get(shard)?.redis_identity,
  })

  /** Loads terms, and products that Redis has never seen. Returns whether it has lost any that it must know, or can not tell. */
  async function hasLostProducts(sql: Sql, shard: number, epoch: number): Promise<boolean> {
    const products = await productsOfShard(sql, shard)
    const seen = await engine.readCounts(
      shard,
      products.map(({ id }) => id),
    )
    const missing = products.filter((_, at) => seen[at] === null)
    if (seen.some((counts) => counts?.is_sound === false)) return true
    // A product without orders may be new; but where none is known any more, live holds count on units that are gone.
    const has_holds = (await nodes.of(shard).exists(keys.shard(shard, 'holds'))) === 1
    const all_missing = missing.length === products.length && has_holds
    if (all_missing || missing.some(({ pending, sold }) => pending + sold > 0)) return true
    const news = products.filter(({ version }, at) => (seen[at]?.version ?? 0) < version || seen[at] === null)
    const loads = news.map(({ id, terms, total, version }) => {
      return { id, terms, counts: { total, pending: 0, sold: 0, version } }
    })
    const loaded = await rebuilder.engineAt(shard, epoch).loadProducts(shard, loads)
    return loaded.includes('recount')
  }

  /** Whether a shard is to PostgreSQL what it was when it was opened. One that does not answer changes nothing. */
  async function isKnownStill(shard: number, epoch: number): Promise<boolean> {
    try {
      const known = await db.use((sql) => findShard(sql, shard))
      return known.epoch === epoch && !known.is_behind
    } catch {
      return true
    }
  }

  /**
   * Throws where others have gone on with another Redis: this one is the old master, cut off from them. Behind its address there may be
   * the new one by now.
   */
  async function refuseOldMaster(sql: Sql, shard: number, known: ShardRecord, found: Found): Promise<void> {
    const is_old =
      found.epoch > 0 && found.epoch < known.epoch && known.redis_identity !== found.redis_identity
    if (!is_old || !(await isUsed(sql, shard, known.epoch, marks.watch.writer))) return
    nodes.of(shard).disconnect(true)
    throw new StartError(`another Redis has the shard, and others use it in epoch ${known.epoch}`)
  }

  async function open(shard: number, reason: string): Promise<void> {
    const doubt = fence.doubt(shard)
    const last = last_opened.get(shard)
    const seen = await rebuilder.readRedis(shard)
    const fault = await policyFault(nodes.of(shard))
    if (fault !== undefined) throw new Error(`Redis ${fault}`)
    const is_as_left = last?.epoch === seen.epoch && last.redis_identity === seen.redis_identity
    if (doubt === 'connection' && is_as_left && (await isKnownStill(shard, seen.epoch))) {
      openUnless(shard, seen.epoch, doubt)
      return
    }
    const underLock = async (sql: Sql) => {
      const found = await rebuilder.readRedis(shard)
      // Sent together, as below: a PostgreSQL that is far away keeps the shard closed for each answer.
      const [before] = await Promise.all([rebuilder.findRecord(sql, shard), watch.refuseStrangeDatabase(sql)])
      rebuilder.refuseStranger(before, found)
      await refuseOldMaster(sql, shard, before, found)
      const known = await rebuilder.lookBack(sql, shard, Object.values(marks), before, found)
      const is_same = found.epoch === known.epoch && found.redis_identity === known.redis_identity
      // Somebody else may have rebuilt the shard while this process waited for the lock.
      const is_newer = last !== undefined && known.epoch > last.epoch
      const is_good = known.epoch > 0 && is_same && !known.is_behind && (doubt !== 'wrong' || is_newer)
      let { epoch } = known
      if (!is_good || (await hasLostProducts(sql, shard, epoch).catch(isBroken))) {
        epoch = await rebuilder.nextEpoch(sql, known, found)
        const is_other = known.is_behind ? 'PostgreSQL is not what it was' : 'Redis is not what it was'
        const why = known.epoch === 0 ? 'it is new' : is_same && !known.is_behind ? reason : is_other
        await rebuilder.begin(sql, shard, epoch, why)
        await rebuilder.complete(sql, shard, epoch, found.redis_identity)
      }
      const [moves, products] = await Promise.all([findMoves(sql), productsOfShard(sql, shard)])
      engine.knowMoves(shard, moves)
      for (const { id, terms } of products) engine.knowProduct(id, shard, terms.hold_ttl_ms)
      last_opened.set(shard, { epoch, redis_identity: found.redis_identity })
      openUnless(shard, epoch, doubt)
      await watch.sayOpen(sql, shard)
    }
    await db.locked([lockOf(shard)], underLock, () =>
      say(`shard ${shard}: another process has it in hand, this one waits`),
    )
  }

  /** What came to light while a shard was looked at may be graver than what it was looked at for. */
  function openUnless(shard: number, epoch: number, doubt: Doubt): void {
    if (fence.doubt(shard) !== doubt) throw new Error('more is in doubt than at first')
    fence.open(shard, epoch)
  }

  async function openUntilDone(shard: number, reason: string): Promise<void> {
    let last_message = ''
    for (let wait_ms = RETRY_MIN_MS; !stopped.signal.aborted; wait_ms = Math.min(wait_ms * 2, RETRY_MAX_MS)) {
      try {
        await open(shard, reason)
        // It may have been closed again before its lock was given back.
        if (fence.isOpen(shard)) {
          say(`shard ${shard}: open`)
          break
        }
      } catch (error) {
        const { message } = error as Error
        if (message !== last_message) say(`shard ${shard}: can not be opened yet: ${message}`)
        last_message = message
      }
      await setTimeout(wait_ms, undefined, { signal: stopped.signal }).catch(() => {})
    }
    // In the same moment, so that no closing falls between the look at the fence and this.
    opening.delete(shard)
  }

  /** A busy machine may be late once; whatever fails several times stands in the way of the start. */
  async function openAtStart(shard: number): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await open(shard, 'Redis has another epoch or none')
      } catch (error) {
        if (tries === (nodes.is_cluster ? CLUSTER_START_TRIES : START_TRIES) || stopped.signal.aborted)
          throw error
        await setTimeout(RETRY_MAX_MS, undefined, { signal: stopped.signal }).catch(() => {})
      }
    }
  }

  return {
    notePast: watch.notePast,

    /**
     * Opens a shard, however long it takes; calls that come meanwhile join in.
     */
    reopen(shard: number, reason: string): Promise<void> {
      const running = opening.get(shard)
      if (running) return running
      const promise = openUntilDone(shard, reason)
      opening.set(shard, promise)
      return promise
    },

    /** Opens all shards at the start and watches Redis from then on. Throws what stands in the way. */
    async openAll(): Promise<void> {
      const highest = await db.use(highestShard)
      if (highest >= shards) {
        throw new StartError(
          `products live in ${highest + 1} shards: set STOCK_SHARDS to ${highest + 1} at least`,
        )
      }
      stopHearing = nodes.onLost((isLost) => {
        for (const shard of all.filter(isLost))
          fence.close(shard, 'the connection to Redis was lost', 'connection')
      })
      const failures: Error[] = []
      const left = all.values()
      const openLeft = async () => {
        for (const shard of left) await openAtStart(shard).catch((error) => failures.push(error))
      }
      await Promise.all(Array.from({ length: MAX_OPENING }, openLeft))
      if (failures[0] && (!nodes.is_cluster || failures.length === shards)) throw failures[0]
      // One master of a cluster may be away: the shards of the others are sold, and its own once it is back.
      for (const shard of all.filter((one) => !fence.isOpen(one))) void this.reopen(shard, NOT_AT_START)
      await watch.forgetGone().catch(() => {})
      watching = watch.run(stopped.signal)
    },

    async close(): Promise<void> {
      stopped.abort()
      stopHearing()
      await watching
      await Promise.allSettled(opening.values())
      await watch.sayGone().catch(() => {})
    },
  }
}
