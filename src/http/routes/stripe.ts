import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Stripe from 'stripe'
import { parseId, shardOfId } from '../../engine/ids.ts'
import type { PaymentNotice } from '../../engine/payments.ts'
import type { Deps } from '../deps.ts'
import { sendInvalid } from '../errors.ts'
import { sendProblem } from '../problem.ts'
import { createReceive } from '../receive-payment.ts'
import { AWAY, Data, replies } from '../schemas/common.ts'
import { PaymentResult } from '../schemas/payments.ts'

const BODY_LIMIT_BYTES = 256 * 1024
/** As Stripe's own libraries have it. */
const TOLERANCE_SECONDS = 300

type StripeNotice = Omit<PaymentNotice, 'order_id'> & { order_id: string }

declare module 'fastify' {
  interface FastifyRequest {
    stripe_event: Stripe.Event | null
  }
}

const idOf = (thing: string | { id: string } | null) =>
  typeof thing === 'object' ? (thing?.id ?? null) : thing

function readSession(event: Stripe.Event, session: Stripe.Checkout.Session, status: PaymentNotice['status']) {
  return {
    idempotency_key: event.id,
    order_id: session.metadata?.order_id,
    status,
    amount: session.amount_total,
    currency: session.currency?.toUpperCase() ?? null,
    payment_method: 'stripe',
    transaction_id: idOf(session.payment_intent),
  }
}

function readIntent(event: Stripe.Event, intent: Stripe.PaymentIntent, status: PaymentNotice['status']) {
  return {
    idempotency_key: event.id,
    order_id: intent.metadata?.order_id,
    status,
    amount: status === 'success' ? intent.amount_received : intent.amount,
    currency: intent.currency.toUpperCase(),
    payment_method: 'stripe',
    transaction_id: intent.id,
  }
}

/** What an event says of an order's payment, or undefined where it says nothing of any. */
function readEvent(event: Stripe.Event): StripeNotice | undefined {
  const notice = (() => {
    switch (event.type) {
      case 'checkout.session.completed':
        return event.data.object.payment_status === 'paid'
          ? readSession(event, event.data.object, 'success')
          : undefined
      case 'checkout.session.async_payment_succeeded':
        return readSession(event, event.data.object, 'success')
      case 'checkout.session.async_payment_failed':
        return readSession(event, event.data.object, 'failed')
      case 'payment_intent.succeeded':
        return readIntent(event, event.data.object, 'success')
      case 'payment_intent.payment_failed':
        return readIntent(event, event.data.object, 'failed')
      default:
        return undefined
    }
  })()
  return notice?.order_id ? { ...notice, order_id: notice.order_id, is_once: true } : undefined
}

/** The Stripe door: events of Stripe, verified by its own package, with the same code behind as for other webhooks. */
export const stripeRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const { config, engine } = deps
  const receive = createReceive(deps)
  app.decorateRequest('stripe_event', null)

  /** Keeps the event that one of the secrets has signed, else answers 401. Without a secret the door is closed. */
  async function readSigned(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const signature = request.headers['stripe-signature']
    for (const secret of config.STRIPE_WEBHOOK_SECRETS) {
      try {
        const body = request.raw_body ?? Buffer.alloc(0)
        request.stripe_event = Stripe.webhooks.constructEvent(
          body,
          signature ?? '',
          secret,
          TOLERANCE_SECONDS,
        )
        return
      } catch {
        // The next secret may have signed it.
      }
    }
    await sendProblem(reply, 'invalid_signature')
  }

  app.post(
    '/api/payments/webhook/stripe',
    {
      bodyLimit: BODY_LIMIT_BYTES,
      config: { is_signed: true },
      preValidation: readSigned,
      schema: {
        tags: ['Payments'],
        summary: 'Receive an event of Stripe',
        security: [{ stripe: [] }],
        description:
          'Events that say nothing of the payment of an order (`metadata.order_id`) are answered 200 and ignored.',
        response: replies({ 200: Data(PaymentResult), 202: Data(PaymentResult) }, [
          'validation_failed',
          'invalid_signature',
          'idempotency_key_reused',
          ...AWAY,
        ]),
      },
    },
    async (request, reply) => {
      const notice = request.stripe_event && readEvent(request.stripe_event)
      if (!notice) return { data: { outcome: 'ignored' as const, order: null } }
      const order_id = parseId('ord_', notice.order_id)
      if (order_id === undefined || shardOfId(order_id) >= engine.shards) {
        return sendInvalid(reply, '/data/object/metadata/order_id', 'is not an order id')
      }
      const result = await receive({ ...notice, order_id })
      if (result === 'foreign') return { data: { outcome: 'ignored' as const, order: null } }
      if (result === 'key_reused') return sendProblem(reply, 'idempotency_key_reused')
      reply.outcome = result.outcome
      return reply.code(result.outcome === 'parked' ? 202 : 200).send({ data: result })
    },
  )
}
