import './steady-loop.ts'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import pg from 'pg'
import { readConfig } from '../../src/config.ts'
import { createKeys } from '../../src/engine/keys.ts'
import { loadScript, scriptNames } from '../../src/engine/scripts.ts'
import { buildApp } from '../../src/http/app.ts'
import { createMover } from '../../src/recovery/move.ts'
import { createRebuilder } from '../../src/recovery/rebuilder.ts'
import { openService, type Service } from '../../src/service.ts'
import { startSweeper } from '../../src/sweeper/sweeper.ts'
import { BorrowedStream, createBackends } from './backends.ts'
import { createRandom } from './chance.ts'
import { copyRedis, createPast, restoreRedis } from './past.ts'
import { drawFrom } from './random.ts'
import { type Actor, type Call, createScheduler, inName, intercept } from './scheduler.ts'
import { tellSqlTime } from './sql-clock.ts'
import { type Clock, openClock } from './time.ts'

const SILENT = { info() {}, warn() {}, error() {} }

/** Text of the scripts and what stands in its place. */
export type Change = ReadonlyArray<readonly [from: string, to: string]>

const HOLD_SECONDS = 5
const ORDER_SECONDS = 6
const RETRY_MS = 100
const TABLES = [
  ...['orders', 'order_items', 'payments', 'products', 'shards', 'writers', 'losses', 'product_moves'],
  'stock_adjustments',
]
const TELL_TIME = `#!lua flags=allow-oom
for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1]) end`
/** The least that Redis may be told to make do with. */
const FULL = '1'

/**
 * The scripts' clock is a key of their shard. Moments of one millisecond are told apart by a count, as by the µs of a Redis; a script that
 * may not write takes what there is. Entries of the journal get ids that never fall, as a Redis gives them.
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
      local top_ms = math.max(tonumber(redis.call('GET', clock)), tonumber(redis.call('GET', clock .. '_top') or 0))
      redis.call('SET', clock .. '_top', string.format('%d', top_ms))
      return string.format('%d-%d', top_ms, redis.call('INCR', clock .. '_us')) end)(),`,
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
    // Whoever was given the lock is shown as waiting until it wakes up, but nobody stands in its way.
    const { rows } = await asking.query<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and cardinality(pg_blocking_pids(pid)) > 0`,
    )
    return rows[0]?.count ?? 0
  })
  const backends = createBackends(database_url, (pid) =>
    scheduler.meanwhile(async () => {
      for (let left = 1; left; ) {
        const { rowCount } = await asking.query(
          'select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and datname = current_database()',
          [pid],
        )
        left = rowCount ?? 0
      }
    }),
  )
  const { release, connectionsOf } = intercept(
    scheduler,
    {
      nameOf: (sha) => names.get(sha) ?? sha,
      scriptOf: (sha) => changed.get(sha),
      answerOf: (what, answer) =>
        what === 'info' ? String(answer).replace(/^(run_id:).*$/m, `$1life${life}\r`) : answer,
    },
    () => new BorrowedStream(backends),
  )
  const clock: Clock = openClock()
  const config = readConfig({
    LOG_LEVEL: 'silent',
    STOCK_SHARDS: String(shards),
    HOLD_TTL_SECONDS: String(HOLD_SECONDS),
    ORDER_TTL_SECONDS: String(ORDER_SECONDS),
  })
  const past = createPast(sql, TABLES)
  const log: string[] = []
  /** How often Redis was started; whoever asks takes it for another one then. */
  let life = 1
  /** How far Redis's clock is ahead of that of the processes. */
  let ahead_ms = 0
  let running: Running[] = []
  /** Whoever lives, also those who are still at their start. */
  const actors = new Set<Actor>()
  function admit(name: string): Actor {
    const actor = { name, is_dead: false }
    actors.add(actor)
    return actor
  }
  const mourners = new Map<Actor, Array<() => void>>()

  const redisNow = () => clock.now_ms() + ahead_ms

  /** The clocks of the servers go on with that of the processes. */
  async function tellTime(): Promise<void> {
    const at_ms = String(redisNow())
    const keys = Array.from({ length: shards }, (_, shard) =>
      createKeys('hf')
        .shard(shard, 'epoch')
        .replace(/epoch$/, 'clock'),
    )
    // A full Redis takes it all the same.
    await redis.eval(TELL_TIME, keys.length, ...keys, at_ms)
    await tellSqlTime(sql, clock.now_ms())
  }

  /** Breaks connections to PostgreSQL on both sides. */
  async function hangUp(connections: Array<Redis | pg.Client>): Promise<void> {
    const streams = connections
      .filter((one): one is pg.Client => one instanceof pg.Client)
      .map((client) => (client as unknown as { connection: { stream: Duplex } }).connection.stream)
      .filter((stream) => stream instanceof BorrowedStream && !stream.closed)
    await Promise.all(streams.map((stream) => once(stream.destroy(), 'close')))
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
    redisNow,

    async stepClock(ms: number): Promise<void> {
      ahead_ms += ms
      await tellTime()
    },

    async emptyRedis(): Promise<void> {
      await redis.flushall()
      await tellTime()
    },

    /** Remembers what Redis has now, and answers how it comes to have that again, as one does that was killed. */
    async copyRedis(): Promise<() => Promise<void>> {
      const copy = await copyRedis(redis)
      return async () => {
        life += 1
        await restoreRedis(redis, copy)
        await tellTime()
      }
    },

    /** The same for PostgreSQL, all of whose connections break then. */
    async copyPostgres(): Promise<() => Promise<void>> {
      await past.copy()
      return async () => {
        await hangUp([...actors].flatMap((actor) => [...connectionsOf(actor)]))
        await past.restore()
      }
    },

    /** Redis takes nothing that needs memory, until it is told otherwise. */
    fillRedis: (is_full: boolean) => redis.config('SET', 'maxmemory', is_full ? FULL : '0'),

    /** Moves a product to a shard, in the name of a command of its own. Answers what kept it from it. */
    async move(product_id: number, shard: number): Promise<Error | undefined> {
      const actor = admit('a mover')
      return inName(actor, async () => {
        const service = await openService({ config, redis_url, database_url, log: SILENT })
        try {
          const rebuilder = createRebuilder({ engine: service.engine, writer: service.writer, say: () => {} })
          await createMover({ ...service, rebuilder }).move([product_id], shard)
        } finally {
          await service.close()
        }
      }).then(
        () => undefined,
        (error: Error) => error,
      )
    },

    /** Opens a service in the name of one more process. Its calls wait to be let go, so somebody has to. */
    async open(name: string): Promise<Running> {
      const actor = admit(name)
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
    later: (ms = RETRY_MS) => new Promise<void>((resolve) => setTimeout(resolve, ms)),

    /** Breaks the connection that a call is made on, should it be one to PostgreSQL. */
    breakConnection: ({ lane }: Call) => hangUp([lane as pg.Client]),

    /** Kills a process: nothing of it goes on, and its servers notice. */
    async kill(actor: Actor): Promise<void> {
      scheduler.kill(actor)
      actors.delete(actor)
      running = running.filter((one) => one.actor !== actor)
      for (const hear of mourners.get(actor) ?? []) hear()
      mourners.delete(actor)
      const own = [...connectionsOf(actor)]
      for (const connection of own) if (connection instanceof Redis) connection.disconnect()
      await hangUp(own)
    },

    /** Everything as at the first start, with a product in each shard. */
    async begin(seed: number, { units, price }: { units: number; price: number }): Promise<number[]> {
      drawFrom(createRandom(seed))
      clock.begin()
      scheduler.reset()
      log.length = 0
      life += 1
      ahead_ms = 0
      await this.fillRedis(false)
      await this.emptyRedis()
      await sql.query(`truncate ${TABLES.join()} restart identity cascade`)
      const ids: number[] = []
      for (let shard = 0; shard < shards; shard += 1) {
        const { rows } = await sql.query(
          `insert into products (name, unit_amount, currency, total, shard, loaded_version) values ('Shoe', $3, 'USD', $1, $2, 1) returning id`,
          [units, shard, price],
        )
        ids.push(Number(rows[0].id))
      }
      return ids
    },

    /** Whether Redis has nothing that somebody still has to see to. */
    async isSwept(): Promise<boolean> {
      const { keys } = (running[0] as Running).service.engine
      for (let shard = 0; shard < shards; shard += 1) {
        const left = await Promise.all([
          redis.xlen(keys.shard(shard, 'journal')),
          ...(['holds', 'prepaid', 'deadlines', 'parked'] as const).map((set) =>
            redis.zcard(keys.shard(shard, set)),
          ),
        ])
        if (left.some((count) => count > 0)) return false
      }
      return true
    },

    /** What a client sends to one of the services. */
    async send(
      to: Running,
      method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
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

    /** Kills everybody. */
    async end(): Promise<void> {
      for (const actor of actors) await this.kill(actor)
    },

    async close(): Promise<void> {
      await this.end()
      clock.close()
      release()
      backends.close()
      redis.disconnect()
      await sql.end()
      await asking.end()
    },
  }
}
