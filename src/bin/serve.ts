import { setTimeout } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { StartError } from '../errors.ts'
import { buildApp } from '../http/app.ts'
import type { Metrics } from '../http/metrics.ts'
import type { Service } from '../service.ts'
import { startSweeper } from '../sweeper/sweeper.ts'
import { type Life, say } from './lifecycle.ts'

/** Requests in flight get this long; every one of them is bounded to less. */
const DRAIN_LIMIT_MS = 3_500
const CLOSE_IDLE_EVERY_MS = 50

/** Serves the API, and sweeps where `sweeps` says so, until the process stops. Returns the port. Throws StartError. */
export async function serve(options: {
  config: Config
  service: Service & { log: Logger }
  life: Life
  port: number
  sweeps: boolean
  metrics?: Metrics
}): Promise<number> {
  const { config, service, life, port, sweeps, metrics } = options
  const { log } = service
  if (sweeps) {
    const sweeper = startSweeper({ ...service, say: (message) => log.warn(message) })
    life.onStop(() => sweeper.stop())
  }

  const isDraining = () => life.stopping.aborted
  const app = await buildApp({ config, ...service, isDraining, ...(metrics && { metrics }) })
  life.onStop(async () => {
    // A connection that was busy when the server closed is not closed by itself once it is idle.
    const closing_idle = setInterval(() => app.server.closeIdleConnections(), CLOSE_IDLE_EVERY_MS)
    await Promise.race([app.close(), setTimeout(DRAIN_LIMIT_MS)])
    clearInterval(closing_idle)
    app.server.closeAllConnections()
  })
  life.stopping.throwIfAborted()
  try {
    await app.listen({ port, host: config.HOST })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') {
      throw new StartError(`port ${port} is in use: stop what listens there or set PORT`)
    }
    throw new StartError(`can not listen on ${config.HOST}:${port} (${message}): set HOST and PORT`)
  }
  const address = app.server.address()
  const listening = typeof address === 'object' && address ? address.port : port
  log.info({ host: config.HOST, port: listening, shards: service.engine.shards, sweeps }, 'started')
  life.stopping.addEventListener('abort', () => log.info('stopping'), { once: true })
  return listening
}

/** Says that the service is ready, where to look, and what is open for lack of settings. */
export function announce(config: Config, port: number): void {
  const at = `http://${config.HOST.includes(':') ? `[${config.HOST}]` : config.HOST}:${port}`
  if (!config.ADMIN_TOKEN && config.is_loopback)
    say('ADMIN_TOKEN is not set: the admin routes are open, on loopback only')
  if (config.WEBHOOK_SECRETS.length === 0) {
    say(
      config.is_loopback
        ? 'WEBHOOK_SECRETS is not set: unsigned webhooks are accepted, on loopback only'
        : 'WEBHOOK_SECRETS is not set: all webhooks are refused',
    )
  }
  say(`ready at ${at}`)
  say(`  the live page      ${at}/`)
  say(`  the first product  ${at}/api/products/1`)
  say(`  the API to try     ${at}/docs`)
  say(`  readiness          ${at}/readyz`)
}
