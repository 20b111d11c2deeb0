import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Stripe from 'stripe'
import { parseId, shardOfId } from '../../engine/ids.ts'
import type { Deps } from '../deps.ts'
import { sendInvalid } from '../errors.ts'
import { sendProblem } from '../problem.ts'
import { createReceive } from '../receive-payment.ts'
import { AWAY, Data, replies } from '../schemas/common.ts'
import { PaymentResult } from '../schemas/payments.ts'
import { readStripeEvent } from '../stripe-events.ts'

const BODY_LIMIT_BYTES = 256 * 1024
/** As Stripe's own libraries have it. */
const TOLERANCE_SECONDS = 300

/** Whether Stripe has signed these bytes with this secret, by its own package. */
function isSigned(body: Buffer, signature: string, secret: string): boolean {
  try {
    return Stripe.webhooks.signature?.verifyHeader(body, signature, secret, TOLERANCE_SECONDS) ?? false
  } catch {
    return false
  }
}

/** The Stripe door: events of Stripe, verified by its own package, with the same code behind as for other webhooks. */
export const stripeRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const { config, engine } = deps
  const receive = createReceive(deps)

  /** Lets an event pass that one of the secrets has signed, else answers 401. Without a secret the door is closed. */
  async function checkSigned(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const body = request.raw_body ?? Buffer.alloc(0)
    const signature = String(request.headers['stripe-signature'] ?? '')
    const is_signed = config.STRIPE_WEBHOOK_SECRETS.some((secret) => isSigned(body, signature, secret))
    if (!is_signed) await sendProblem(reply, 'invalid_signature')
    else if (request.body_error) throw request.body_error
  }

  function findId(order_id: string): string | undefined {
    const id = parseId('ord_', order_id)
    return id !== undefined && shardOfId(id) < engine.shards ? id : undefined
  }

  app.post(
    '/api/payments/webhook/stripe',
    {
      bodyLimit: BODY_LIMIT_BYTES,
      config: { is_signed: true },
      preValidation: checkSigned,
      schema: {
        tags: ['Payments'],
        summary: 'Receive an event of Stripe',
        security: [{ stripe: [] }],
        description:
          'Events that do not end the payment of an order of this service (`metadata.order_id`) are answered 200 and ignored.',
        response: replies({ 200: Data(PaymentResult), 202: Data(PaymentResult) }, [
          'validation_failed',
          'invalid_signature',
          'idempotency_key_reused',
          ...AWAY,
        ]),
      },
    },
    async (request, reply) => {
      let named: string | undefined
      const reading = readStripeEvent(request.body, (order_id) => {
        named = findId(order_id)
        return named
      })
      // What another installation is told need not make sense here.
      const is_foreign = named !== undefined && !engine.isOwnId(named)
      if (reading.status === 'unreadable' && is_foreign)
        return { data: { outcome: 'ignored' as const, order: null } }
      if (reading.status === 'ignored') return { data: { outcome: 'ignored' as const, order: null } }
      if (reading.status === 'unreadable') return sendInvalid(reply, reading.path, reading.message)
      const result = await receive(reading.value)
      if (result === 'foreign') {
        request.log.warn(
          { order_id: reading.value.order_id },
          'an event of Stripe names an order of another installation',
        )
        return { data: { outcome: 'ignored' as const, order: null } }
      }
      if (result === 'key_reused') return sendProblem(reply, 'idempotency_key_reused')
      reply.outcome = result.outcome
      return reply.code(result.outcome === 'parked' ? 202 : 200).send({ data: result })
    },
  )
}
