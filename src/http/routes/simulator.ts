import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { Config } from '../../config.ts'
import { SCENARIOS } from '../../gateway/notices.ts'
import { sign } from '../../gateway/sign.ts'
import type { Deps } from '../deps.ts'
import { Data, Id, replies, Word } from '../schemas/common.ts'

/** Those that need no help from outside and no wrong signature. */
const SIMULATED = ['success', 'failure', 'duplicate', 'out-of-order'] as const

const SimulateBody = Type.Object(
  { order_id: Id('As the hold named it'), scenario: Word(SIMULATED, 'What the gateway sends') },
  {
    additionalProperties: false,
    examples: [{ order_id: 'ord_jZu8jHczExm5aNPo1a200defdaf0z58af3', scenario: 'success' }],
  },
)

const Sent = Type.Object({
  label: Type.String({ description: 'What was sent' }),
  status: Type.Integer({ description: 'With which the webhook was answered' }),
  answer: Type.Unknown({ description: 'Its body' }),
})
const SENT = { label: 'success', status: 202, answer: { data: { outcome: 'parked', order: null } } }

/** Whether anybody may play the gateway here: in development only, and only from this machine. */
export const isSimulated = (config: Config) => config.NODE_ENV !== 'production' && config.is_loopback

/** The gateway of the live page, which sends what a real one would, through the same door. Never in production. */
export const simulatorRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, { config }) => {
  const [secret = ''] = config.WEBHOOK_SECRETS

  app.post(
    '/api/simulator/payments',
    {
      schema: {
        tags: ['Payments'],
        security: [],
        summary: 'Play a payment gateway, in development only',
        description:
          'Signs webhooks and sends them to /api/payments/webhook, one after the other. There is no such route with `NODE_ENV=production`, nor on an address that others can reach.',
        body: SimulateBody,
        response: replies({ 200: Data(Type.Array(Sent, { examples: [[SENT]] })) }, [
          'validation_failed',
          'unavailable',
        ]),
      },
    },
    async (request) => {
      const { order_id, scenario } = request.body
      const sent = []
      for (const notice of SCENARIOS[scenario]()) {
        const { idempotency_key, status, label } = notice
        const { headers, body } = sign(
          notice,
          JSON.stringify({ idempotency_key, order_id, status, payment_method: 'simulated' }),
          secret,
        )
        const reply = await app.inject({
          method: 'POST',
          url: '/api/payments/webhook',
          headers: { ...headers, 'x-request-id': request.id },
          body,
        })
        sent.push({ label, status: reply.statusCode, answer: reply.json() as unknown })
      }
      return { data: sent }
    },
  )
}
