import { setTimeout } from 'node:timers/promises'
import { readConfig } from '../config.ts'
import { ensureProduct } from '../db/seed.ts'
import { StartError } from '../errors.ts'
import { buildApp } from '../http/app.ts'
import { startSweeper } from '../sweeper/sweeper.ts'
import { runCommand, say } from './lifecycle.ts'
import { openMigrated, openOn } from './open.ts'

/** Requests in flight get this long; every one of them is bounded to less. */
const DRAIN_LIMIT_MS = 3_500
const CLOSE_IDLE_EVERY_MS = 50

runCommand({ is_service: true }, async (life) => {
  const config = readConfig(process.env)
  const servers = await openMigrated(config, life)
  await ensureProduct(servers.database_url, config.STOCK_SHARDS)
  const service = await openOn(servers, config, life)
  const { log } = service
  if (config.SWEEPER === 'inline') {
    const sweeper = startSweeper({ ...service, say: (message) => log.warn(message) })
    life.onStop(() => sweeper.stop())
  }

  const app = await buildApp({ config, ...service, isDraining: () => life.stopping.aborted })
  life.onStop(async () => {
    // A connection that was busy when the server closed is not closed by itself once it is idle.
    const closing_idle = setInterval(() => app.server.closeIdleConnections(), CLOSE_IDLE_EVERY_MS)
    await Promise.race([app.close(), setTimeout(DRAIN_LIMIT_MS)])
    clearInterval(closing_idle)
    app.server.closeAllConnections()
  })
  life.stopping.throwIfAborted()
  try {
    await app.listen({ port: config.PORT, host: config.HOST })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') {
      throw new StartError(`port ${config.PORT} is in use: stop what listens there or set PORT`)
    }
    throw new StartError(`can not listen on ${config.HOST}:${config.PORT} (${message}): set HOST and PORT`)
  }

  const address = app.server.address()
  const port = typeof address === 'object' && address ? address.port : config.PORT
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
  say(`  the first product  ${at}/api/products/1`)
  say(`  the API to try     ${at}/docs`)
  say(`  readiness          ${at}/readyz`)
  return undefined
})
