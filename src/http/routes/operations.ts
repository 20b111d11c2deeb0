import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { Deps } from '../deps.ts'
import type { Metrics } from '../metrics.ts'
import { sendProblem } from '../problem.ts'
import { AWAY, Data, replies, TextReply } from '../schemas/common.ts'

const Check = Type.Object({ redis: Type.String(), postgresql: Type.String(), fence: Type.String() })

/** `isDraining` says that the process is about to end: it is not ready for more. */
export const operationRoutes: FastifyPluginAsyncTypebox<
  Deps & { isDraining: () => boolean; metrics: Metrics }
> = async (app, { engine, db, isDraining, metrics }) => {
  const word = (work: Promise<unknown>) =>
    work.then(
      () => 'ok',
      () => 'does not answer',
    )

  function explainClosed(shard: number): string {
    const why = engine.fence.whyClosed(shard)
    if (!why) return `shard ${shard}: not opened yet`
    return `shard ${shard}: closed for ${Date.now() - why.since_ms} ms, because ${why.reason}`
  }

  app.get(
    '/healthz',
    {
      config: { is_unlimited: true },
      schema: {
        tags: ['Operations'],
        security: [],
        summary: 'Whether the process lives',
        response: {
          200: Data(Type.Object({ status: Type.Literal('ok') }, { examples: [{ status: 'ok' }] })),
        },
      },
    },
    async () => ({ data: { status: 'ok' as const } }),
  )

  app.get(
    '/metrics',
    {
      config: { is_unlimited: true },
      schema: {
        tags: ['Operations'],
        security: [],
        summary: 'Numbers for Prometheus',
        response: replies({ 200: TextReply('text/plain', 'In the text format of Prometheus') }, [
          'unavailable',
        ]),
      },
    },
    async (_request, reply) => reply.type(metrics.registry.contentType).send(await metrics.read()),
  )

  app.get(
    '/readyz',
    {
      config: { is_unlimited: true },
      schema: {
        tags: ['Operations'],
        security: [],
        summary: 'Whether Redis, PostgreSQL and the fence are fine',
        response: replies(
          {
            200: Data(
              Type.Object(
                { status: Type.Literal('ready'), checks: Check },
                { examples: [{ status: 'ready', checks: { redis: 'ok', postgresql: 'ok', fence: 'ok' } }] },
              ),
            ),
          },
          [...AWAY],
        ),
      },
    },
    async (_request, reply) => {
      const [redis, postgresql] = await Promise.all([
        word(engine.probe().then(() => engine.redis.ping())),
        word(db.use((sql) => sql.query('select 1'))),
      ])
      const closed = Array.from({ length: engine.shards }, (_, shard) => shard)
        .filter((shard) => !engine.fence.isOpen(shard))
        .map(explainClosed)
      const fence = closed.length === 0 ? 'ok' : closed.join('; ')
      const checks = { redis, postgresql, fence }
      if (isDraining()) return sendProblem(reply, 'unavailable', 'The process is shutting down.', { checks })
      if (redis === 'ok' && postgresql === 'ok' && fence === 'ok') {
        return { data: { status: 'ready' as const, checks } }
      }
      const code = redis === 'ok' && postgresql === 'ok' ? 'recovering' : 'unavailable'
      return sendProblem(reply, code, undefined, { checks })
    },
  )
}
