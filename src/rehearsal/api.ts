import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { freePort } from '../embedded/process.ts'
import { openDetour, type Slowness } from './detour.ts'

const SERVER = fileURLToPath(new URL('../bin/server.ts', import.meta.url))

export type Api = Awaited<ReturnType<typeof openApi>>

/** A process of the API on the servers of the stage, with its port and its way to PostgreSQL, which outlive it. */
export async function openApi(options: {
  redis_url: string
  database_url: string
  postgres_port: number
  order_ttl_seconds: number
  slowness: Slowness | undefined
}) {
  const { redis_url, database_url, postgres_port, order_ttl_seconds, slowness } = options
  const port = await freePort()
  const detour = slowness && (await openDetour({ port: postgres_port, slowness }))
  const own_database_url = new URL(database_url)
  if (detour) own_database_url.port = String(detour.port)
  const env = {
    ...process.env,
    PORT: String(port),
    HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    NODE_ENV: '',
    REDIS_URL: redis_url,
    DATABASE_URL: own_database_url.href,
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
    detour,
    kill,
    /** Starts the process. A slow PostgreSQL may refuse it its start, which is no fault: its way is straight meanwhile. */
    start(): void {
      detour?.straight()
      child = spawn(process.execPath, ['--import', 'tsx', SERVER], {
        env,
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      // What it says when it can not start; a rehearsal that waits in vain would else not tell why.
      child.stderr?.on('data', (text) => process.stderr.write(text))
    },
    async close(): Promise<void> {
      await kill()
      await detour?.close()
    },
  }
}
