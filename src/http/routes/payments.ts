import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { listPayments, markRefunded } from '../../db/payments.ts'
import { orderId, parseId, shardOfId } from '../../engine/ids.ts'
import { adminOnly } from '../auth.ts'
import { decodeCursor, encodeCursor } from '../cursor.ts'
import type { Deps } from '../deps.ts'
import { sendInvalid } from '../errors.ts'
import { paymentKey, refuseDoubledKey } from '../idempotency.ts'
import { presentPayment } from '../present.ts'
import { sendProblem } from '../problem.ts'
import { createReceive } from '../receive-payment.ts'
import { AWAY, Data, isKey, NOT_ADMIN, Page, replies } from '../schemas/common.ts'
import {
  Payment,
  PaymentBody,
  PaymentHeaders,
  PaymentParams,
  PaymentQuery,
  PaymentResult,
} from '../schemas/payments.ts'
import { createSignatureCheck } from '../webhook-signature.ts'

const BODY_LIMIT_BYTES = 64 * 1024

export const paymentRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const { config, engine, db } = deps
  const receive = createReceive(deps)
  app.decorateRequest('signed_id', null)

  app.post(
    '/api/payments/webhook',
    {
      bodyLimit: BODY_LIMIT_BYTES,
      config: { is_signed: true },
      preValidation: [createSignatureCheck(config), refuseDoubledKey],
      schema: {
        tags: ['Payments'],
        summary: 'Announce a payment, signed as Standard Webhooks say',
        security: [{ webhook: [] }, {}],
        headers: PaymentHeaders,
        body: PaymentBody,
        response: replies({ 200: Data(PaymentResult), 202: Data(PaymentResult) }, [
          'validation_failed',
          'invalid_signature',
          'idempotency_key_reused',
          ...AWAY,
        ]),
      },
    },
    async (request, reply) => {
      const { body, signed_id } = request
      const in_header = request.headers['idempotency-key']
      const idempotency_key = paymentKey({ in_body: body.idempotency_key, in_header, signed_id })
      if (idempotency_key === undefined) {
        return sendInvalid(
          reply,
          '/idempotency_key',
          'must come in the body or as the Idempotency-Key header',
        )
      }
      if (!isKey(idempotency_key)) return sendInvalid(reply, '/headers/webhook-id', 'can not be a key')
      if (signed_id === null && in_header !== undefined && in_header !== idempotency_key) {
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
      if (result === 'foreign')
        return sendInvalid(reply, '/order_id', 'is not an order id of this installation')
      if (result === 'key_reused') return sendProblem(reply, 'idempotency_key_reused')
      reply.outcome = result.outcome
      return reply.code(result.outcome === 'parked' ? 202 : 200).send({ data: result })
    },
  )

  app.get(
    '/api/payments',
    {
      onRequest: adminOnly(config),
      schema: {
        tags: ['Payments'],
        summary: 'List payments, newest first',
        description: 'With `?outcome=refund_due&refunded=false`: the money that has to go back.',
        security: [{ admin: [] }],
        querystring: PaymentQuery,
        response: replies({ 200: Page(Payment) }, ['validation_failed', ...NOT_ADMIN, 'unavailable']),
      },
    },
    async (request, reply) => {
      const { limit, cursor, outcome, order_id, refunded } = request.query
      const id = order_id === undefined ? undefined : parseId('ord_', order_id)
      const after = cursor === undefined ? null : decodeCursor(cursor, ['number', 'string'])
      if (order_id !== undefined && id === undefined)
        return sendInvalid(reply, '/order_id', 'is not an order id')
      if (after === undefined) return sendInvalid(reply, '/cursor', 'is not a cursor')
      const filter = { outcome, order_id: id && orderId(id), is_refunded: refunded }
      const found = await db.use((sql) => listPayments(sql, filter, after, limit + 1))
      const page = found.slice(0, limit)
      const last = found.length > limit ? page.at(-1) : undefined
      const next_cursor = last ? encodeCursor([last.created_at_ms, last.idempotency_key]) : null
      return { data: page.map(presentPayment), meta: { next_cursor } }
    },
  )

  app.post(
    '/api/payments/:idempotency_key/refunded',
    {
      onRequest: adminOnly(config),
      schema: {
        tags: ['Payments'],
        summary: 'Say that a payment that was due for refund has been paid back',
        security: [{ admin: [] }],
        params: PaymentParams,
        response: replies({ 200: Data(Payment) }, [
          ...NOT_ADMIN,
          'payment_not_found',
          'refund_not_due',
          'unavailable',
        ]),
      },
    },
    async (request, reply) => {
      const payment = await db.transaction((sql) => markRefunded(sql, request.params.idempotency_key))
      if (!payment) return sendProblem(reply, 'payment_not_found')
      if (payment.outcome !== 'refund_due') return sendProblem(reply, 'refund_not_due')
      request.log.info({ order_id: orderId(payment.order_id) }, 'a payment was paid back')
      return { data: presentPayment(payment) }
    },
  )
}
