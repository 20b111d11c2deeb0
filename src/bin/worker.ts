import { readConfig } from '../config.ts'
import { createMetrics } from '../http/metrics.ts'
import { linkToPrimary } from '../workers/link.ts'
import { runCommand } from './lifecycle.ts'
import { openOn } from './open.ts'
import { serve } from './serve.ts'

/* One of the processes that `WORKERS` asks for; src/workers/primary.ts starts it, and nobody else. */

const primary = linkToPrimary()

runCommand({ is_service: true, link: primary }, async (life) => {
  life.onStop(() => primary.told())
  const config = readConfig(process.env)
  const { port, sweeps, max_connections, ...servers } = await primary.orders(life.stopping)
  const service = await openOn(servers, config, life, max_connections)
  const { registry } = createMetrics(service)
  primary.onMetricsWanted(() => registry.getMetricsAsJSON())
  const metrics = { registry, read: () => primary.readMetricsOfAll(), readSamples: primary.readSamples }
  primary.tellListening(await serve({ config, service, life, port, sweeps, metrics }))
  return undefined
})
