import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import pg from 'pg'
import { readConfig } from '../../src/config.ts'
import { createKeys } from '../../src/engine/keys.ts'
import { loadScript, scriptNames } from '../../src/engine/scripts.ts'
import { buildApp } from '../../src/http/app.ts'
import { openService, type Service } from '../../src/service.ts'
import { startSweeper } from '../../src/sweeper/sweeper.ts'
import type { Chance } from './chance.ts'
import { drawFrom } from './random.ts'
import { type Actor, createScheduler, inName, intercept } from './scheduler.ts'
import { type Clock, openClock } from './time.ts'

/** Text of the scripts and what stands in its place. */
export type Change = ReadonlyArray<readonly [from: string, to: string]>

const HOLD_SECONDS = 5
const ORDER_SECONDS = 6
const RETRY_MS = 100
const TABLES =
  'orders, order_items, payments, products, shards, writers, losses, product_moves, stock_adjustments'

/**
 * The scripts' clock is a key of their shard. Moments of one millisecond are told apart by a count, as by the µs of a Redis; a script that
 * may not write takes what there is.
 */
const clockOf = (is_reading: boolean): Change => [
  [
    "local time = redis.call('TIME')",
    `local clock = string.gsub(KEYS[1], 'epoch$', 'clock') local now_ms = tonumber(redis.call('GET', clock))
  local time = { math.floor(now_ms / 1000), now_ms % 1000 * 1000 + ${is_reading ? '0' : "redis.call('INCR', clock .. '_us') % 1000"} }`,
  ],
  [
    "redis.call('XADD', keys.journal, '*',",
    `redis.call('XADD', keys.journal, (function() local clock = string.gsub(KEYS[1], 'epoch$', 'clock')
      return redis.call('GET', clock) .. '-' .. redis.call('INCR', clock .. '_us') end)(),`,
  ],
]

export type Running = {
  actor: Actor
  service: Service
  app: FastifyInstance
  sweeper: { stop(): Promise<void> }
}
export type World = Awaited<ReturnType<typeof openWorld>>

/** Two servers, and the services that use them, every call of which waits to be let go. */
export async function openWorld(options: {
  redis_url: string
  database_url: string
  shards: number
  change?: Change
}) {
  const { redis_url, database_url, shards, change = [] } = options
  const redis = new Redis(redis_url)
  const sql = new pg.Client({ connectionString: database_url })
  await sql.connect()
  const asking = new pg.Client({ connectionString: database_url })
  await asking.connect()

  const names = new Map<string, string>()
  const changed = new Map<string, { sha: string; lua: string }>()
  const missing = new Set(change.map(([from]) => from))
  for (const { name, lua: original, sha } of scriptNames().map(loadScript)) {
    names.set(sha, name)
    let lua = original
    for (const [from, to] of [...clockOf(/flags=\S*no-writes/.test(original)), ...change]) {
      if (lua.includes(from)) missing.delete(from)
      lua = lua.replaceAll(from, () => to)
    }
    changed.set(sha, { sha: (await redis.script('LOAD', lua)) as string, lua })
  }
  if (missing.size > 0) throw new Error(`no script has this text: ${[...missing].join(', ')}`)

  const scheduler = createScheduler(async () => {
    const { rows } = await asking.query<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    return rows[0]?.count ?? 0
  })
  const { release, connectionsOf } = intercept(scheduler, {
    nameOf: (sha) => names.get(sha) ?? sha,
    scriptOf: (sha) => changed.get(sha),
  })
  const clock: Clock = openClock()
  const config = readConfig({
    LOG_LEVEL: 'silent',
    STOCK_SHARDS: String(shards),
    HOLD_TTL_SECONDS: String(HOLD_SECONDS),
    ORDER_TTL_SECONDS: String(ORDER_SECONDS),
  })
  const log: string[] = []
  let running: Running[] = []
  const mourners = new Map<Actor, Array<() => void>>()

  /** Redis's clock says what the clock of the processes says. */
  async function tellTime(): Promise<void> {
    const at_ms = String(clock.now_ms())
    const times = Array.from({ length: shards }, (_, shard) => [
      createKeys('hf')
        .shard(shard, 'epoch')
        .replace(/epoch$/, 'clock'),
      at_ms,
    ])
    await redis.mset(...(times.flat() as [string, string]))
  }

  return {
    redis,
    sql,
    scheduler,
    clock,
    config,
    log,
    shards,
    running: () => running,
    tellTime,

    /** Opens a service in the name of one more process. Its calls wait to be let go, so somebody has to. */
    async open(name: string): Promise<Running> {
      const actor: Actor = { name, is_dead: false }
      return inName(actor, async () => {
        const say = (...line: unknown[]) => void log.push(`${name}: ${String(line.at(-1))}`)
        const service = await openService({
          config,
          redis_url,
          database_url,
          log: { info: say, warn: say, error: say },
        })
        const sweeper = startSweeper({ ...service, say })
        const app = await scheduler.meanwhile(async () => {
          const built = await buildApp({ config, ...service })
          await built.ready()
          return built
        })
        const own = { actor, service, app, sweeper }
        running.push(own)
        return own
      })
    },

    /** Hears that a process was killed. */
    onDeath(actor: Actor, hear: () => void): void {
      mourners.set(actor, [...(mourners.get(actor) ?? []), hear])
    },

    /** Some time later: a client that tries again. */
    later: () => new Promise<void>((resolve) => setTimeout(resolve, RETRY_MS)),

    /** Kills a process: nothing of it goes on, and its servers notice. */
    async kill(actor: Actor): Promise<void> {
      scheduler.kill(actor)
      running = running.filter((one) => one.actor !== actor)
      for (const hear of mourners.get(actor) ?? []) hear()
      mourners.delete(actor)
      const pids: number[] = []
      for (const connection of connectionsOf(actor)) {
        if (connection instanceof Redis) connection.disconnect()
        else {
          connection.on('error', () => {})
          pids.push((connection as unknown as { processID: number }).processID)
          ;(
            connection as unknown as { connection: { stream: { destroy(): void } } }
          ).connection.stream.destroy()
        }
      }
      for (;;) {
        // One that waits for a lock would not notice.
        const { rowCount } = await asking.query(
          'select pg_terminate_backend(pid) from pg_stat_activity where pid = any($1)',
          [pids.filter(Boolean)],
        )
        if (rowCount === 0) return
      }
    },

    /** Everything as at the first start, with a product in each shard. */
    async begin(chance: Chance, units: number): Promise<number[]> {
      drawFrom(chance)
      clock.begin()
      scheduler.reset()
      log.length = 0
      await redis.flushall()
      await sql.query(`truncate ${TABLES} restart identity cascade`)
      await tellTime()
      const ids: number[] = []
      for (let shard = 0; shard < shards; shard += 1) {
        const { rows } = await sql.query(
          `insert into products (name, unit_amount, currency, total, shard, loaded_version) values ('Shoe', 100, 'USD', $1, $2, 0) returning id`,
          [units, shard],
        )
        ids.push(Number(rows[0].id))
      }
      return ids
    },

    /** What a client sends to one of the services. */
    async send(
      to: Running,
      method: 'GET' | 'POST' | 'DELETE',
      url: string,
      payload?: object,
      key: string = randomUUID(),
    ) {
      const headers = method === 'GET' ? {} : { 'idempotency-key': key }
      const reply = await inName(
        to.actor,
        async () => await to.app.inject({ method, url, headers, ...(payload && { payload }) }),
      )
      return {
        status: reply.statusCode,
        body: (reply.payload === '' ? {} : reply.json()) as Record<string, unknown>,
      }
    },

    async close(): Promise<void> {
      for (const { actor } of running) await this.kill(actor)
      clock.close()
      release()
      redis.disconnect()
      await sql.end()
      await asking.end()
    },
  }
}
