import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { freePort } from '../embedded/process.ts'
import { type Detour, openDetour, type Slowness } from './detour.ts'

const SERVER = fileURLToPath(new URL('../bin/server.ts', import.meta.url))

export type Api = Awaited<ReturnType<typeof openApi>>

/** A process of the API on the servers of the stage, with its port and its ways to Redis and PostgreSQL, which outlive it. */
export async function openApi(options: {
  redis_url: string
  database_url: string
  order_ttl_seconds: number
  slow_redis: Slowness | undefined
  slow_postgres: Slowness | undefined
}) {
  const { redis_url, database_url, order_ttl_seconds, slow_redis, slow_postgres } = options
  const port = await freePort()
  const detours: Detour[] = []

  /** The same URL, by a detour of this process where there is to be one. */
  async function lead(url: string, slowness: Slowness | undefined): Promise<string> {
    if (!slowness) return url
    const own_url = new URL(url)
    const detour = await openDetour({ port: Number(own_url.port), slowness })
    detours.push(detour)
    own_url.port = String(detour.port)
    return own_url.href
  }

  const env = {
    ...process.env,
    PORT: String(port),
    HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    NODE_ENV: '',
    REDIS_URL: await lead(redis_url, slow_redis),
    DATABASE_URL: await lead(database_url, slow_postgres),
    ADMIN_TOKEN: '',
    WEBHOOK_SECRETS: '',
    SWEEPER: '',
    ORDER_TTL_SECONDS: String(order_ttl_seconds),
    npm_lifecycle_event: '',
  }
  let child: ChildProcess | undefined

  async function kill(): Promise<void> {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  return {
    url: `http://127.0.0.1:${port}`,
    detours,
    kill,
    /** Starts the process. Slow servers may refuse it its start, which is no fault: its ways are straight meanwhile. */
    start(): void {
      for (const detour of detours) detour.straight()
      child = spawn(process.execPath, ['--import', 'tsx', SERVER], {
        env,
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      // What it says when it can not start; a rehearsal that waits in vain would else not tell why.
      child.stderr?.on('data', (text) => process.stderr.write(text))
    },
    async close(): Promise<void> {
      await kill()
      await Promise.all(detours.map((detour) => detour.close()))
    },
  }
}
