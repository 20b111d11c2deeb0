import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { databaseUrl, startPostgres, stopPostgres } from '../embedded/postgres.ts'
import { startRedis, stopRedis } from '../embedded/redis.ts'
import { StartError } from '../errors.ts'
import { type Draw, seeded } from '../random.ts'
import { type Api, openApi } from './api.ts'
import type { Slowness } from './detour.ts'

const READY_POLL_MS = 20
const READY_LIMIT_MS = 60_000
/** How long PostgreSQL stays away: longer than a request waits. */
const POSTGRES_AWAY_MS = 500

export type FaultName = 'kill-redis' | 'flush-redis' | 'stop-postgres' | 'kill-api'
/** Faults after which holds may be gone: Redis writes its AOF once a second. */
export const LOSES_HOLDS: FaultName[] = ['kill-redis', 'flush-redis']
export type Stage = Awaited<ReturnType<typeof openStage>>

const isReady = (url: string) =>
  fetch(`${url}/readyz`).then(
    (response) => response.ok,
    () => false,
  )

/** Waits until all of these processes say that they are ready. Returns how long that took, in ms. */
export async function awaitReady(urls: string[], stopping: AbortSignal): Promise<number> {
  const started_ms = performance.now()
  for (const url of urls) {
    while (!(await isReady(url))) {
      if (performance.now() - started_ms > READY_LIMIT_MS)
        throw new StartError(`${url} does not become ready`)
      await setTimeout(READY_POLL_MS, undefined, { signal: stopping })
    }
  }
  return Math.round(performance.now() - started_ms)
}

/**
 * A whole installation of its own in a temporary folder, whose parts can be killed and started again: Redis with its AOF,
 * PostgreSQL, and as many processes of the API, each with its sweeper, as `services` says. With `slow_redis` and
 * `slow_postgres` each of them reaches these by detours of its own.
 */
export async function openStage(options: {
  services: number
  slow_redis: Slowness | undefined
  slow_postgres: Slowness | undefined
  order_ttl_seconds: number
  stopping: AbortSignal
}) {
  const { services, slow_redis, slow_postgres, order_ttl_seconds, stopping } = options
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-rehearsal-'))
  const password = randomBytes(16).toString('hex')
  const place = { data_dir: folder, password, stopping, onStarted: async () => {} }
  const apis: Api[] = []
  let redis: Awaited<ReturnType<typeof startRedis>> | undefined
  let postgres: Awaited<ReturnType<typeof startPostgres>> | undefined

  async function close(): Promise<void> {
    await Promise.all(apis.map((api) => api.close()))
    await Promise.all([redis && stopRedis(redis.id), postgres && stopPostgres(postgres.id)])
    await rm(folder, { recursive: true, force: true })
  }

  const startPg = () => startPostgres({ ...place, is_throw_away: false, say: () => {} })
  try {
    redis = await startRedis(place)
    postgres = await startPg()
    const redis_url = `redis://:${password}@127.0.0.1:${redis.port}`
    const database_url = databaseUrl(postgres.port, password)

    /** Injects a fault and lifts it again. `draw` says which process is killed. */
    async function inject(fault: FaultName, draw: Draw): Promise<void> {
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
        case 'kill-api': {
          const api = apis[Math.floor(draw() * apis.length)]
          await api?.kill()
          api?.start()
        }
      }
    }

    while (apis.length < services) {
      apis.push(await openApi({ redis_url, database_url, order_ttl_seconds, slow_redis, slow_postgres }))
    }
    for (const api of apis) api.start()
    const urls = apis.map(({ url }) => url)
    await awaitReady(urls, stopping)
    return {
      urls,
      redis_url,
      database_url,
      inject,
      close,
      /** From now on the servers are slow now and then, for each process by itself. A process that is started is spared until the next call. */
      slow: (draw: Draw) => {
        for (const detour of apis.flatMap(({ detours }) => detours)) detour.slow(seeded(draw() * 2 ** 32))
      },
      /** From now on the servers are as fast as they are. */
      straight: () => {
        for (const detour of apis.flatMap(({ detours }) => detours)) detour.straight()
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}
