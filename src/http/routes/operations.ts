import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { isReadOnly } from '../../db/client.ts'
import { refuseReadOnly } from '../../db/session.ts'
import type { Deps } from '../deps.ts'
import type { Metrics } from '../metrics.ts'
import { sendProblem } from '../problem.ts'
import { AWAY, Data, replies, TextReply } from '../schemas/common.ts'

const Check = Type.Object({ redis: Type.String(), postgresql: Type.String(), fence: Type.String() })
const Readiness = Type.Object(
  { status: Type.Union([Type.Literal('ready'), Type.Literal('degraded')]), checks: Check },
  { examples: [{ status: 'ready', checks: { redis: 'ok', postgresql: 'ok', fence: 'ok' } }] },
)

/** `isDraining` says that the process is about to end: it is not ready for more. */
export const operationRoutes: FastifyPluginAsyncTypebox<
  Deps & { isDraining: () => boolean; metrics: Metrics }
> = async (app, { engine, db, isDraining, metrics }) => {
  const all = Array.from({ length: engine.shards }, (_, shard) => shard)

  /** Which servers answer. One Redis has all shards; of a cluster the shards are named whose server does not. */
  async function readRedis(): Promise<string> {
    const silent = await engine.probe()
    if (silent.length === 0) return 'ok'
    return silent.length === all.length
      ? 'does not answer'
      : `does not answer for shards ${silent.join(', ')}`
  }

  /** Whether PostgreSQL would take a write. */
  const readPostgresql = () =>
    db.use(refuseReadOnly).then(
      () => 'ok',
      (error) => (isReadOnly(error) ? 'is read-only' : 'does not answer'),
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
        description:
          '`degraded`: some shards of a cluster are closed, which `checks` names, and the others are sold as ever.',
        response: replies({ 200: Data(Readiness) }, [...AWAY]),
      },
    },
    async (_request, reply) => {
      const [redis, postgresql] = await Promise.all([readRedis(), readPostgresql()])
      const closed = all.filter((shard) => !engine.fence.isOpen(shard))
      const fence = closed.length === 0 ? 'ok' : closed.map(explainClosed).join('; ')
      const checks = { redis, postgresql, fence }
      if (isDraining()) return sendProblem(reply, 'unavailable', 'The process is shutting down.', { checks })
      if (redis === 'ok' && postgresql === 'ok' && fence === 'ok') {
        return { data: { status: 'ready' as const, checks } }
      }
      // Whoever takes a process away because one shard is closed takes away all the others with it.
      if (postgresql === 'ok' && closed.length < all.length && engine.nodes.is_cluster) {
        return { data: { status: 'degraded' as const, checks } }
      }
      const code = redis === 'ok' && postgresql === 'ok' ? 'recovering' : 'unavailable'
      return sendProblem(reply, code, undefined, { checks })
    },
  )
}
