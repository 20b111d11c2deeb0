import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { databaseUrl, startPostgres, stopPostgres } from '../embedded/postgres.ts'
import { freePort } from '../embedded/process.ts'
import { startRedis, stopRedis } from '../embedded/redis.ts'
import { StartError } from '../errors.ts'

const SERVER = fileURLToPath(new URL('../bin/server.ts', import.meta.url))
const READY_POLL_MS = 20
const READY_LIMIT_MS = 60_000
/** How long PostgreSQL stays away: longer than a request waits. */
const POSTGRES_AWAY_MS = 500

export type FaultName = 'kill-redis' | 'flush-redis' | 'stop-postgres' | 'kill-api'
export type Stage = Awaited<ReturnType<typeof openStage>>

const isReady = (url: string) =>
  fetch(`${url}/readyz`).then(
    (response) => response.ok,
    () => false,
  )

/** Waits until the service says that it is ready. Returns how long that took, in ms. */
export async function awaitReady(url: string): Promise<number> {
  const started_ms = performance.now()
  while (!(await isReady(url))) {
    if (performance.now() - started_ms > READY_LIMIT_MS) throw new StartError(`${url} does not become ready`)
    await setTimeout(READY_POLL_MS)
  }
  return Math.round(performance.now() - started_ms)
}

/**
 * A whole installation of its own in a temporary folder, whose parts can be killed and started again: Redis with its AOF,
 * PostgreSQL, and the API with its sweeper as a process.
 */
export async function openStage(options: { stopping: AbortSignal }) {
  const { stopping } = options
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-rehearsal-'))
  const password = randomBytes(16).toString('hex')
  const place = { data_dir: folder, password, stopping, onStarted: async () => {} }
  let api: ChildProcess | undefined
  let redis: Awaited<ReturnType<typeof startRedis>> | undefined
  let postgres: Awaited<ReturnType<typeof startPostgres>> | undefined

  async function killApi(): Promise<void> {
    if (!api || api.exitCode !== null || api.signalCode !== null) return
    const exited = once(api, 'exit')
    api.kill('SIGKILL')
    await exited
  }

  async function close(): Promise<void> {
    await killApi()
    await Promise.all([redis && stopRedis(redis.id), postgres && stopPostgres(postgres.id)])
    await rm(folder, { recursive: true, force: true })
  }

  const startPg = () => startPostgres({ ...place, is_throw_away: false, say: () => {} })
  try {
    redis = await startRedis(place)
    postgres = await startPg()
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const redis_url = `redis://:${password}@127.0.0.1:${redis.port}`
    const database_url = databaseUrl(postgres.port, password)

    function startApi(): void {
      const env = { ...process.env, PORT: String(port), HOST: '127.0.0.1', LOG_LEVEL: 'silent', NODE_ENV: '' }
      const own = {
        REDIS_URL: redis_url,
        DATABASE_URL: database_url,
        ADMIN_TOKEN: '',
        WEBHOOK_SECRETS: '',
        SWEEPER: '',
      }
      api = spawn(process.execPath, ['--import', 'tsx', SERVER], {
        env: { ...env, ...own, npm_lifecycle_event: '' },
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      // What it says when it can not start; a rehearsal that waits in vain would else not tell why.
      api.stderr?.on('data', (text) => process.stderr.write(text))
    }

    /** Injects a fault and lifts it again. */
    async function inject(fault: FaultName): Promise<void> {
      switch (fault) {
        case 'kill-redis':
          if (redis) process.kill(redis.id.pid, 'SIGKILL')
          redis = await startRedis(place)
          return
        case 'flush-redis': {
          const client = new Redis(redis_url)
          await client.flushall()
          client.disconnect()
          return
        }
        case 'stop-postgres':
          if (postgres) await stopPostgres(postgres.id)
          await setTimeout(POSTGRES_AWAY_MS)
          postgres = await startPg()
          return
        case 'kill-api':
          await killApi()
          startApi()
      }
    }

    startApi()
    await awaitReady(url)
    return { url, redis_url, database_url, inject, close }
  } catch (error) {
    await close()
    throw error
  }
}
