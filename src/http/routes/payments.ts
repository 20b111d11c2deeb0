import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Static } from '@sinclair/typebox'
import { findPayments } from '../../db/payments.ts'
import { parseId, shardOfId } from '../../engine/ids.ts'
import type { ApplyPayment, PaymentNotice } from '../../engine/payments.ts'
import type { Payment } from '../../engine/records.ts'
import { UnavailableError } from '../../errors.ts'
import { gather } from '../../gather.ts'
import type { Deps } from '../deps.ts'
import { sendInvalid } from '../errors.ts'
import { refuseDoubledKey } from '../idempotency.ts'
import { presentOrder } from '../present.ts'
import { sendProblem } from '../problem.ts'
import { Data, IdempotencyHeaders, replies } from '../schemas/common.ts'
import { PaymentBody, type PaymentResult, PaymentResult as PaymentResultSchema } from '../schemas/payments.ts'
import { createSignatureCheck } from '../webhook-signature.ts'

const BODY_LIMIT_BYTES = 64 * 1024
const MAX_BATCH = 256
const MAX_WAITING = 10_000

type Result = Static<typeof PaymentResult>

/** Whether a payment that PostgreSQL knows is the one that has come again. */
function isSame(known: Payment, notice: PaymentNotice): boolean {
  return (
    known.order_id === notice.order_id &&
    known.status === notice.status &&
    known.amount === notice.amount &&
    known.currency === notice.currency
  )
}

export const paymentRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const { config, engine, writer, lookup, db } = deps

  const known_payments = gather<string, Payment | undefined>({
    run: async (keys) => {
      const found = await db.use((sql) => findPayments(sql, keys))
      const by_key = new Map(found.map((payment) => [payment.idempotency_key, payment]))
      return keys.map((key) => by_key.get(key))
    },
    max_batch: MAX_BATCH,
    max_in_flight: 1,
    max_waiting: MAX_WAITING,
  })

  /** Applies a payment; an order that Redis has forgotten is loaded first, one that nobody knows parks the payment. */
  async function apply(notice: PaymentNotice): Promise<ApplyPayment> {
    const result = await engine.applyPayment(notice, false)
    if (result.status !== 'unknown_order') return result
    const is_loaded = await lookup.loadOrder(notice.order_id)
    return engine.applyPayment(notice, !is_loaded)
  }

  /** A payment that was committed before, perhaps long ago. */
  async function answerKnown(known: Payment, notice: PaymentNotice): Promise<Result | 'key_reused'> {
    if (!isSame(known, notice)) return 'key_reused'
    const order = (await engine.readOrder(notice.order_id)) ?? (await lookup.findOrder(notice.order_id))
    return {
      outcome: 'duplicate',
      first_outcome: known.first_outcome,
      order: order ? presentOrder(order) : null,
    }
  }

  async function receive(notice: PaymentNotice): Promise<Result | 'key_reused'> {
    const known = await known_payments.add(notice.idempotency_key)
    if (known) return answerKnown(known, notice)
    const result = await apply(notice)
    switch (result.status) {
      case 'key_reused':
        return 'key_reused'
      case 'unknown_order':
        // It was loaded a moment ago; only a Redis that has just lost it again can say so.
        throw new UnavailableError('unavailable', 'the order was lost while it was paid')
      case 'duplicate': {
        await writer.finish(shardOfId(notice.order_id), result.entry_id)
        const order = result.order && presentOrder(result.order)
        return { outcome: 'duplicate', first_outcome: result.first_outcome, order }
      }
      default: {
        if ((await writer.commit(result.entry)) === 'refused') {
          return { outcome: 'refund_due', reason: 'no_units_left', order: null }
        }
        const order = result.order && presentOrder(result.order)
        const reason = result.reason as Result['reason']
        return { outcome: result.status, ...(reason ? { reason } : {}), order }
      }
    }
  }

  app.post(
    '/api/payments/webhook',
    {
      bodyLimit: BODY_LIMIT_BYTES,
      preValidation: [createSignatureCheck(config), refuseDoubledKey],
      schema: {
        tags: ['Payments'],
        summary: 'Announce a payment, signed as Standard Webhooks say',
        headers: IdempotencyHeaders,
        body: PaymentBody,
        response: replies(
          { 200: Data(PaymentResultSchema), 202: Data(PaymentResultSchema) },
          [400, 401, 413, 422],
        ),
      },
    },
    async (request, reply) => {
      const { body } = request
      const header_key = request.headers['idempotency-key']
      const idempotency_key = body.idempotency_key ?? header_key
      if (idempotency_key === undefined) {
        return sendInvalid(
          reply,
          '/idempotency_key',
          'must come in the body or as the Idempotency-Key header',
        )
      }
      if (header_key !== undefined && header_key !== idempotency_key) {
        return sendInvalid(reply, '/idempotency_key', 'differs from the Idempotency-Key header')
      }
      const order_id = parseId('ord_', body.order_id)
      if (order_id === undefined || shardOfId(order_id) >= engine.shards) {
        return sendInvalid(reply, '/order_id', 'is not an order id')
      }
      const result = await receive({
        idempotency_key,
        order_id,
        status: body.status === 'success' ? 'success' : 'failed',
        amount: body.amount ?? null,
        currency: body.currency ?? null,
        payment_method: body.payment_method ?? null,
        transaction_id: body.transaction_id ?? null,
      })
      if (result === 'key_reused') return sendProblem(reply, 'idempotency_key_reused')
      return reply.code(result.outcome === 'parked' ? 202 : 200).send({ data: result })
    },
  )
}
