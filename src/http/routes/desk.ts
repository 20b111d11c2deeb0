import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { createRing } from '../../desk/ring.ts'
import { seriesOf } from '../../desk/series.ts'
import { asMetrics } from '../../workers/messages.ts'
import { adminOnly } from '../auth.ts'
import type { Deps } from '../deps.ts'
import type { Metrics } from '../metrics.ts'
import { Data, NOT_ADMIN, replies } from '../schemas/common.ts'
import { Desk } from '../schemas/desk.ts'

const iso = (ms: number) => new Date(ms).toISOString()

/** What the operator's corner of the live page shows: the numbers of now, and of the last ten minutes. */
export const deskRoutes: FastifyPluginAsyncTypebox<Deps & { metrics: Metrics }> = async (
  app,
  { config, metrics },
) => {
  let { readSamples } = metrics
  if (!readSamples) {
    const ring = createRing(async () => asMetrics(await metrics.registry.getMetricsAsJSON()))
    app.addHook('onListen', async () => ring.start())
    app.addHook('preClose', () => ring.stop())
    readSamples = ring.read
  }
  const read = readSamples

  app.get(
    '/api/desk',
    {
      onRequest: adminOnly(config),
      schema: {
        tags: ['Operations'],
        summary: 'The numbers of the live page: now, and the last ten minutes',
        description: 'For people; programs read /metrics.',
        security: [{ admin: [] }],
        response: replies({ 200: Data(Desk) }, [...NOT_ADMIN, 'unavailable']),
      },
    },
    async () => {
      const { samples, now } = await read()
      const { at_ms, ...series } = seriesOf(samples)
      return {
        data: {
          taken_at: now && iso(now.at_ms),
          refunds_open: now?.refunds_open ?? null,
          journal_entries: now?.journal_entries ?? null,
          journal_age_seconds: now?.journal_age_seconds ?? null,
          fence: now?.shards ?? [],
          workers: now?.workers ?? null,
          series: { at: at_ms.map(iso), ...series },
        },
      }
    },
  )
}
