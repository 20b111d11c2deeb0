import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import type { Life } from '../src/bin/lifecycle.ts'
import { openDb } from '../src/db/client.ts'
import { migrateDb } from '../src/db/migrate.ts'
import { freePort } from '../src/embedded/process.ts'
import { openServers } from '../src/embedded/servers.ts'
import { oneNode } from '../src/engine/nodes.ts'
import { connectRedis } from '../src/engine/redis.ts'
import { checkNodes } from '../src/engine/settings.ts'
import { StartError } from '../src/errors.ts'
import { createBaselineTables } from './baselines/tables.ts'
import { type Child, startBaseline, startChild, startGenerator } from './children.ts'
import { type CpuReading, familyCpu, parentOf, processCpu, redisCpu } from './measure.ts'

const READY_LIMIT_MS = 30_000
const READY_POLL_MS = 10
/** How each server under test is started; the service itself is not among them. */
const BASELINES = {
  bare: { file: 'bare', args: ['later'] },
  'bare-at-once': { file: 'bare', args: [] },
  naive: { file: 'naive-script', args: [] },
  'row-lock': { file: 'row-lock', args: [] },
  'conditional-update': { file: 'conditional-update', args: [] },
  'skip-locked': { file: 'skip-locked', args: [] },
} as const

export type ServerName = 'service' | keyof typeof BASELINES
export type Stage = Awaited<ReturnType<typeof openStage>>

/** Waits until the service says that it is ready; asking makes it look whether Redis is what it was. */
export async function awaitReady(url: string, service: Child, stopping: AbortSignal): Promise<void> {
  const until_ms = Date.now() + READY_LIMIT_MS
  const isReady = () =>
    fetch(`${url}/readyz`).then(
      (response) => response.ok,
      () => false,
    )
  while (!(await isReady())) {
    stopping.throwIfAborted()
    if (service.process.exitCode !== null || Date.now() > until_ms) {
      throw new StartError(`the service does not become ready: ${service.log()}`)
    }
    await wait(READY_POLL_MS)
  }
}

/** Starts the service. Resolves with its URL when it is ready; `life` ends it. */
export async function startService(log_path: string, settings: Record<string, string>, life: Life) {
  const port = await freePort()
  const env = { ...settings, PORT: String(port), HOST: '127.0.0.1', npm_lifecycle_event: 'bench' }
  const service = startChild('../src/bin/server.ts', { env, log_path })
  life.onStop(() => service.stop())
  const url = `http://127.0.0.1:${port}`
  await awaitReady(url, service, life.stopping)
  return { ...service, url }
}

/** A Redis and a PostgreSQL with their ordinary settings in a temporary folder, which goes at the end. */
async function openStores(life: Life, say: (line: string) => void) {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-'))
  life.onStop(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  const servers = await openServers({ data_dir: join(folder, 'data'), say, stopping: life.stopping })
  life.onStop(() => servers.close())
  await migrateDb(servers.database_url)
  const redis = connectRedis(servers.redis_url)
  life.onStop(async () => redis.disconnect())
  await checkNodes(oneNode(redis))
  // Nobody's log is rewritten in the middle of a measurement; it is between two rounds.
  await redis.config('SET', 'auto-aof-rewrite-percentage', '0')
  const sql = new pg.Client({ connectionString: servers.database_url })
  sql.on('error', () => {})
  await sql.connect()
  life.onStop(() => sql.end())
  await createBaselineTables(sql)
  const db = openDb(servers.database_url)
  life.onStop(() => db.close())
  const { rows } = await sql.query<{ pid: number }>('select pg_backend_pid() as pid')
  return { ...servers, folder, redis, sql, db, postmaster_pid: await parentOf(rows[0]?.pid ?? 0) }
}

/**
 * Everything that is measured, each a process of its own: Redis, PostgreSQL, the service with its default configuration, the
 * baselines that are needed, and the load generator. All of them run all the time; one is under load at a time.
 */
export async function openStage(life: Life, needed: Set<ServerName>, say: (line: string) => void) {
  const stores = await openStores(life, say)
  const { folder, redis_url, database_url, redis, postmaster_pid } = stores
  const urls = { REDIS_URL: redis_url, DATABASE_URL: database_url }
  const service = await startService(join(folder, 'service.log'), urls, life)
  const servers = new Map<ServerName, Child & { url: string }>([['service', service]])
  const starting = Object.entries(BASELINES).map(async ([name, { file, args }]) => {
    if (!needed.has(name as ServerName)) return
    const options = { env: urls, args: [...args], log_path: join(folder, `${name}.log`) }
    servers.set(name as ServerName, await startBaseline(file, life, options))
  })
  await Promise.all(starting)
  const generator = startGenerator(join(folder, 'generator.log'), life.stopping)
  life.onStop(() => generator.stop())

  function server(name: ServerName) {
    const found = servers.get(name)
    if (!found) throw new Error(`the server ${name} was not started`)
    return found
  }

  return {
    ...stores,
    service,
    generator,
    stopping: life.stopping,
    urlOf: (name: ServerName) => server(name).url,

    /** CPU time so far, of a server under test and of everything around it. */
    async readCpu(name: ServerName | undefined): Promise<CpuReading> {
      return {
        server: name === undefined ? null : await processCpu(server(name).pid),
        redis: await redisCpu(redis),
        postgres: postmaster_pid === undefined ? null : await familyCpu(postmaster_pid),
        generator: await processCpu(generator.pid),
      }
    },
  }
}
