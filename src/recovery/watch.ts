import { setTimeout } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Db, Sql } from '../db/client.ts'
import { findInstallation } from '../db/installation.ts'
import { advance, forgetWriters, goneWriters, type Mark, noteUse, PastError } from '../db/marks.ts'
import { findEpochs } from '../db/shards.ts'
import type { Engine } from '../engine/engine.ts'
import { readIdentity } from '../engine/redis.ts'
import { policyFault } from '../engine/settings.ts'
import { StartError } from '../errors.ts'
import { findAhead, recallOpen } from '../journal/past.ts'

/** How often both sides are asked whether they are still the same: a proxy may put another one behind a living connection. */
const WATCH_EVERY_MS = 1_000
/** So often it forgets processes that are gone. */
const FORGET_EVERY_MS = 3_600_000
const STRANGE_DATABASE = 'PostgreSQL is the database of another installation'
const PAST = 'PostgreSQL has come back from the past'

/** How far the commits of this process have come, as far as it remembers. */
export type Marks = { writer: Mark; watch: Mark; admin: Mark }

/** Closes the fence where Redis or PostgreSQL is not what it was, and tells PostgreSQL which shards this process uses. */
export function createWatch(options: {
  engine: Engine
  db: Db
  marks: Marks
  /** The Redis on which this process opened a shard last. */
  identityOf: (shard: number) => string | undefined
}) {
  const { engine, db, marks, identityOf } = options
  const { nodes, fence } = engine
  const all = Array.from({ length: engine.shards }, (_, shard) => shard)

  /** In which epoch each shard is open here, 0 where it is not. */
  const epochs = () => all.map((shard) => (fence.isOpen(shard) ? fence.epoch(shard) : 0))

  /** Whether a database is that of this engine; one that names no installation takes any. */
  const isOwn = (installation: string) => engine.installation === '' || engine.installation === installation

  function closeAll(reason: string): void {
    for (const shard of all) fence.close(shard, reason, 'wrong')
  }
  /** What came to light of PostgreSQL: it lacks what this process knows it had. */
  const notePast = () => closeAll(PAST)

  /** Looks whether a server is still what it was when these shards were opened on it. */
  async function lookAtRedis(redis: Redis, on_it: number[]): Promise<void> {
    const fault = await policyFault(redis).catch(() => undefined)
    if (fault !== undefined) for (const shard of on_it) fence.close(shard, `Redis ${fault}`, 'wrong')
    const identity = await readIdentity(redis).catch(() => undefined)
    if (identity === undefined) return
    for (const shard of on_it) {
      if (identityOf(shard) !== identity) fence.close(shard, 'another Redis answers', 'state')
    }
  }

  /**
   * Says that this process lives, and looks whether PostgreSQL is what it was: it has every commit of this process, and has come no
   * further with any shard than this process.
   */
  async function lookAtPostgres(): Promise<void> {
    try {
      const before = epochs()
      const open_shards = all.filter((shard) => before[shard])
      const known = await db.transaction(async (sql) => {
        // Those of processes that are gone too: it may have been their commits that were lost.
        const ahead = await findAhead(sql, Object.values(marks), () => recallOpen(engine))
        if (ahead.length > 0) throw new PastError()
        const count = await noteUse(sql, marks.watch, epochs())
        return { count, shards: await findEpochs(sql), installation: await findInstallation(sql) }
      })
      advance(marks.watch, known.count)
      if (!isOwn(known.installation)) closeAll(STRANGE_DATABASE)
      const by_shard = new Map(known.shards.map((one) => [one.shard, one]))
      // PostgreSQL hears of an epoch before anybody opens a shard in it.
      if (open_shards.some((shard) => (by_shard.get(shard)?.epoch ?? 0) < (before[shard] ?? 0)))
        throw new PastError()
      for (const { shard, epoch, is_behind } of known.shards) {
        if (!fence.isOpen(shard)) continue
        if (is_behind) fence.close(shard, PAST, 'wrong')
        else if (epoch > fence.epoch(shard)) fence.close(shard, `PostgreSQL has epoch ${epoch}`, 'state')
      }
      // A step like any other: whoever has taken that Redis meanwhile is told nothing, and noticed.
      const open = all.filter((shard) => fence.isOpen(shard))
      await Promise.allSettled(open.map((shard) => engine.journal.noteMark(shard, marks.watch)))
    } catch (error) {
      if ([error, (error as Error).cause].some((one) => one instanceof PastError)) notePast()
    }
  }

  /** Forgets the writers of processes that have been gone for long: first in every Redis, where their marks would else seem ahead. */
  async function forgetGone(): Promise<void> {
    const gone = await db.use(goneWriters)
    if (gone.length === 0) return
    for (const shard of all) await engine.remembered.forgetMarks(shard, gone)
    await db.use((sql) => forgetWriters(sql, gone))
  }

  /** Looks again and again until it is stopped. */
  async function run(stopped: AbortSignal): Promise<void> {
    let looking: Promise<void> | undefined
    let forgot_ms = performance.now()
    while (!stopped.aborted) {
      await setTimeout(WATCH_EVERY_MS, undefined, { signal: stopped }).catch(() => {})
      // A PostgreSQL that is slow must not keep anybody from looking at Redis.
      looking ??= lookAtPostgres().finally(() => {
        looking = undefined
      })
      if (performance.now() - forgot_ms >= FORGET_EVERY_MS) {
        forgot_ms = performance.now()
        await forgetGone().catch(() => {})
      }
      const by_server = new Map<Redis, number[]>()
      for (const shard of all.filter((one) => fence.isOpen(one))) {
        const redis = nodes.of(shard)
        by_server.set(redis, [...(by_server.get(redis) ?? []), shard])
      }
      await Promise.all([...by_server].map(([redis, on_it]) => lookAtRedis(redis, on_it)))
      // A slot may have moved while nobody used its shard, and a server that lost it goes on as it was.
      if (nodes.is_cluster) await engine.probe()
    }
    await looking
  }

  return {
    notePast,
    run,

    /** Throws StartError where the database behind this connection belongs to another installation. */
    async refuseStrangeDatabase(sql: Sql): Promise<void> {
      if (!isOwn(await findInstallation(sql))) throw new StartError(STRANGE_DATABASE)
    },

    /** Says which shards this process has open, now also this one, and counts that: what came before it is lost with it. */
    async sayOpen(sql: Sql, shard: number): Promise<void> {
      advance(marks.watch, await noteUse(sql, marks.watch, epochs()))
      await engine.journal.noteMark(shard, marks.watch)
    },

    /** Says that it has none any more: whoever waits for it to be gone need not wait until it is silent. */
    async sayGone(): Promise<void> {
      const none = all.map(() => 0)
      await db.transaction((sql) => noteUse(sql, marks.watch, none))
    },

    forgetGone,
  }
}
