import { setTimeout } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Db, Sql } from '../db/client.ts'
import { findInstallation } from '../db/installation.ts'
import {
  createMark,
  forgetWriters,
  goneWriters,
  isUsed,
  type Mark,
  marksAhead,
  noteUse,
  PastError,
} from '../db/marks.ts'
import { findMoves } from '../db/moves.ts'
import { productsOfShard } from '../db/products.ts'
import { findEpochs, findShard, highestShard, type ShardRecord } from '../db/shards.ts'
import type { Engine } from '../engine/engine.ts'
import type { Doubt } from '../engine/fence.ts'
import { readIdentity } from '../engine/redis.ts'
import { policyFault } from '../engine/settings.ts'
import { StartError } from '../errors.ts'
import { type Found, lockOf, type Rebuilder } from './rebuilder.ts'

const RETRY_MIN_MS = 50
const RETRY_MAX_MS = 500
const START_TRIES = 5
/** A shard of a cluster that can not be opened keeps the others waiting no longer. */
const CLUSTER_START_TRIES = 2
const STRANGE_DATABASE = 'PostgreSQL is the database of another installation'
const NOT_AT_START = 'it could not be opened at the start'
/** Each shard that is opened has a connection to PostgreSQL of its own. */
const MAX_OPENING = 4
/** How often Redis is asked whether it is still the same: a proxy may put another one behind a living connection. */
const WATCH_EVERY_MS = 1_000

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
  /** How far the commits of this process have come, as far as it remembers. */
  marks: { writer: Mark; watch: Mark; admin: Mark }
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

  /** Loads terms, and products that Redis has never seen. Returns whether it has lost any that it must know, or can not tell. */
  async function hasLostProducts(sql: Sql, shard: number, epoch: number): Promise<boolean> {
    const products = await productsOfShard(sql, shard)
    const fields = products.map(({ id }) => `${id}:total`)
    const totals = await engine.readFields(shard, 'products', fields)
    const missing = products.filter((_, at) => totals[at] === null)
    // A product without orders may be new; but where none is known any more, live holds count on units that are gone.
    const has_holds = (await nodes.of(shard).exists(keys.shard(shard, 'holds'))) === 1
    const all_missing = missing.length === products.length && has_holds
    if (all_missing || missing.some(({ pending, sold }) => pending + sold > 0)) return true
    const at_epoch = rebuilder.engineAt(shard, epoch)
    for (const { id, terms, total, version } of products) {
      const counts = { total, pending: 0, sold: 0, version }
      if ((await at_epoch.loadProduct(shard, id, terms, counts)) === 'recount') return true
    }
    return false
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
    await db.locked([lockOf(shard)], async (sql) => {
      const found = await rebuilder.readRedis(shard)
      const before = await rebuilder.findRecord(sql, shard)
      if (!isOwn(await findInstallation(sql))) throw new StartError(STRANGE_DATABASE)
      rebuilder.refuseStranger(before, found)
      await refuseOldMaster(sql, shard, before, found)
      await rebuilder.lookBack(sql, shard, Object.values(marks), found)
      const known = await rebuilder.findRecord(sql, shard)
      const is_same = found.epoch === known.epoch && found.redis_identity === known.redis_identity
      // Somebody else may have rebuilt the shard while this process waited for the lock.
      const is_newer = last !== undefined && known.epoch > last.epoch
      const is_good = known.epoch > 0 && is_same && !known.is_behind && (doubt !== 'wrong' || is_newer)
      let { epoch } = known
      if (!is_good || (await hasLostProducts(sql, shard, epoch).catch(isBroken))) {
        epoch = Math.max(known.epoch, found.epoch) + 1
        const is_other = known.is_behind ? 'PostgreSQL is not what it was' : 'Redis is not what it was'
        const why = known.epoch === 0 ? 'it is new' : is_same && !known.is_behind ? reason : is_other
        await rebuilder.begin(sql, shard, epoch, why)
        await rebuilder.complete(sql, shard, epoch, found.redis_identity)
      }
      // One that PostgreSQL lost has not been, and its number comes again.
      if (known.is_behind) engine.forgetMoves()
      engine.knowMoves(await findMoves(sql))
      for (const { id, terms } of await productsOfShard(sql, shard)) {
        engine.knowProduct(id, shard, terms.hold_ttl_ms)
      }
      last_opened.set(shard, { epoch, redis_identity: found.redis_identity })
      openUnless(shard, epoch, doubt)
      await noteUse(sql, createMark(marks.watch.writer), epochs())
    })
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

  /** Looks whether a server is still what it was when these shards were opened on it. */
  async function look(redis: Redis, on_it: number[]): Promise<void> {
    const fault = await policyFault(redis).catch(() => undefined)
    if (fault !== undefined) for (const shard of on_it) fence.close(shard, `Redis ${fault}`, 'wrong')
    const identity = await readIdentity(redis).catch(() => undefined)
    if (identity === undefined) return
    for (const shard of on_it) {
      if (last_opened.get(shard)?.redis_identity !== identity)
        fence.close(shard, 'another Redis answers', 'state')
    }
  }

  /** Forgets the writers of processes that have been gone for long: first in every Redis, where their marks would else seem ahead. */
  async function forgetGone(): Promise<void> {
    const gone = await db.use(goneWriters)
    if (gone.length === 0) return
    for (const shard of all) await engine.remembered.forgetMarks(shard, gone)
    await db.use((sql) => forgetWriters(sql, gone))
  }

  /** Whether a database is that of this engine; one that names no installation takes any. */
  const isOwn = (installation: string) => engine.installation === '' || engine.installation === installation

  function closeAll(reason: string): void {
    for (const shard of all) fence.close(shard, reason, 'wrong')
  }
  /** What came to light of PostgreSQL: it lacks what this process knows it had. */
  const notePast = () => closeAll('PostgreSQL has come back from the past')

  /**
   * Says that this process lives, and looks whether PostgreSQL is what it was: it has every commit of this process, and has come no
   * further with any shard than this process.
   */
  async function lookAtPostgres(): Promise<void> {
    try {
      // Those of processes that are gone too: it may have been their commits that were lost.
      const before = epochs()
      const open_shards = all.filter((shard) => before[shard])
      const told = await Promise.allSettled(open_shards.map((shard) => engine.remembered.marks(shard)))
      const remembered = told.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
      const known = await db.transaction(async (sql) => {
        const ahead = await marksAhead(sql, [...Object.values(marks), ...remembered])
        if (ahead.length > 0) throw new PastError()
        const count = await noteUse(sql, marks.watch, epochs())
        return { count, shards: await findEpochs(sql), installation: await findInstallation(sql) }
      })
      marks.watch.commits = known.count
      if (!isOwn(known.installation)) closeAll(STRANGE_DATABASE)
      const by_shard = new Map(known.shards.map((one) => [one.shard, one]))
      // PostgreSQL hears of an epoch before anybody opens a shard in it.
      if (open_shards.some((shard) => (by_shard.get(shard)?.epoch ?? 0) < (before[shard] ?? 0)))
        throw new PastError()
      for (const { shard, epoch, is_behind } of known.shards) {
        if (!fence.isOpen(shard)) continue
        if (is_behind) fence.close(shard, 'PostgreSQL has come back from the past', 'wrong')
        else if (epoch > fence.epoch(shard)) fence.close(shard, `PostgreSQL has epoch ${epoch}`, 'state')
      }
      // A step like any other: whoever has taken that Redis meanwhile is told nothing, and noticed.
      const open = all.filter((shard) => fence.isOpen(shard))
      await Promise.allSettled(open.map((shard) => engine.journal.noteMark(shard, marks.watch)))
    } catch (error) {
      if ([error, (error as Error).cause].some((one) => one instanceof PastError)) notePast()
    }
  }

  const epochs = () => all.map((shard) => (fence.isOpen(shard) ? fence.epoch(shard) : 0))

  async function watch(): Promise<void> {
    let looking: Promise<void> | undefined
    while (!stopped.signal.aborted) {
      await setTimeout(WATCH_EVERY_MS, undefined, { signal: stopped.signal }).catch(() => {})
      // A PostgreSQL that is slow must not keep anybody from looking at Redis.
      looking ??= lookAtPostgres().finally(() => {
        looking = undefined
      })
      const by_server = new Map<Redis, number[]>()
      for (const shard of all.filter((one) => fence.isOpen(one))) {
        const redis = nodes.of(shard)
        by_server.set(redis, [...(by_server.get(redis) ?? []), shard])
      }
      await Promise.all([...by_server].map(([redis, on_it]) => look(redis, on_it)))
      // A slot may have moved while nobody used its shard, and a server that lost it goes on as it was.
      if (nodes.is_cluster) await engine.probe()
    }
    await looking
  }

  return {
    notePast,

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
      await forgetGone().catch(() => {})
      watching = watch()
    },

    async close(): Promise<void> {
      stopped.abort()
      stopHearing()
      await watching
      await Promise.allSettled(opening.values())
      // Whoever waits for this process to be gone need not wait until it is silent.
      const none = all.map(() => 0)
      await db.transaction((sql) => noteUse(sql, createMark(marks.watch.writer), none)).catch(() => {})
    },
  }
}
