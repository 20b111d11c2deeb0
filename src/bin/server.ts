import { readConfig } from '../config.ts'
import { ensureProduct } from '../db/seed.ts'
import { startWorkers } from '../workers/primary.ts'
import { runCommand, say } from './lifecycle.ts'
import { openMigrated, openOn } from './open.ts'
import { announce, serve } from './serve.ts'

runCommand({ is_service: true }, async (life) => {
  const config = readConfig(process.env)
  const servers = await openMigrated(config, life)
  // A shop's own products only, where it is for real.
  if (config.NODE_ENV !== 'production') await ensureProduct(servers.database_url, config.STOCK_SHARDS)
  const { PORT: port, WORKERS: count } = config
  const sweeps = config.SWEEPER === 'inline'
  if (count === 1) {
    const service = await openOn(servers, config, life)
    announce(config, await serve({ config, service, life, port, sweeps }))
    return undefined
  }
  life.stopping.throwIfAborted()
  const workers = startWorkers({ ...servers, count, port, sweeps, stopping: life.stopping, say })
  life.onStop(() => workers.stop())
  announce(config, await workers.listening)
  say(`  workers            ${count}`)
  return undefined
})
