import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { listOrders } from '../../db/orders.ts'
import type { Idem } from '../../engine/holds.ts'
import { orderId, parseId, shardOfId } from '../../engine/ids.ts'
import { type CreateOrder, markOf } from '../../engine/orders.ts'
import type { Order as OrderRecord } from '../../engine/records.ts'
import { UnavailableError } from '../../errors.ts'
import { adminOrCustomer } from '../auth.ts'
import { decodeCursor, encodeCursor } from '../cursor.ts'
import type { Deps } from '../deps.ts'
import { sendInvalid } from '../errors.ts'
import { REPLAYED_HEADER, readIdem, refuseDoubledKey } from '../idempotency.ts'
import { createOwnerCheck, isForeign } from '../ownership.ts'
import { presentOrder } from '../present.ts'
import { sendProblem } from '../problem.ts'
import { AWAY, Data, IdempotencyHeaders, NOT_ADMIN, Page, replies } from '../schemas/common.ts'
import { CreateOrderBody, Order, OrderParams, OrderQuery } from '../schemas/orders.ts'
import { sendGone, sendUsed } from './holds.ts'

const REFUSED = 'PostgreSQL has fewer units than this order needs; the order was undone.'

function sendCreated(reply: FastifyReply, order: OrderRecord): FastifyReply {
  const data = presentOrder(order)
  return reply.code(201).header('location', `/api/orders/${data.order_id}`).send({ data })
}

export const orderRoutes: FastifyPluginAsyncTypebox<Deps> = async (
  app,
  { config, db, engine, writer, lookup },
) => {
  function readId(prefix: 'hld_' | 'ord_', text: string): string | undefined {
    const id = parseId(prefix, text)
    return id !== undefined && shardOfId(id) < engine.shards ? id : undefined
  }

  const checkOwner = createOwnerCheck({ engine, findOrder: lookup.findOrder })

  /** The order as this request may see it, or undefined. */
  async function findOwn(request: FastifyRequest, id: string): Promise<OrderRecord | undefined> {
    const order = await lookup.readOrder(id)
    return order && !isForeign(request, order) ? order : undefined
  }

  /** Makes an order. Where its key was used before a rebuild, PostgreSQL says whether for an order that there is. */
  async function create(id: string, idem: Idem | null): Promise<Exclude<CreateOrder, { status: 'earlier' }>> {
    let result = await engine.createOrder(id, idem)
    while (result.status === 'earlier') {
      const known = await lookup.findOrder(result.order.id)
      if (!known) {
        result = await engine.createOrder(id, idem, result.order.id)
        continue
      }
      const is_same = idem !== null && known.idem === markOf(idem)
      return is_same ? { ...result, status: 'replayed', entry_id: '' } : { status: 'key_reused' }
    }
    return result
  }

  app.post(
    '/api/orders',
    {
      preValidation: refuseDoubledKey,
      schema: {
        tags: ['Orders'],
        summary: 'Make the order of a hold, once',
        headers: IdempotencyHeaders,
        body: CreateOrderBody,
        response: replies({ 201: Data(Order) }, [
          'validation_failed',
          'hold_not_found',
          'insufficient_stock',
          'hold_already_used',
          'hold_expired',
          'hold_released',
          'idempotency_key_reused',
          ...AWAY,
        ]),
      },
    },
    async (request, reply) => {
      const id = readId('hld_', request.body.hold_id)
      if (id === undefined) return sendGone(reply, 'not_found')
      const gone = await checkOwner(request, id)
      if (gone) return sendGone(reply, gone)
      const idem = readIdem(request, 'orders')
      const result = await create(id, idem)
      switch (result.status) {
        case 'created':
        case 'replayed': {
          const committed =
            result.status === 'created'
              ? await writer.commit(result.entry)
              : await writer.finish(result.shard, result.entry_id)
          if (committed === 'refused') return sendProblem(reply, 'insufficient_stock', REFUSED)
          if (result.status === 'replayed') {
            // Redis may remember an order that PostgreSQL's floor refused, or one whose entry was set aside.
            if (!(await lookup.findOrder(id)))
              throw new UnavailableError('unavailable', 'the order is not written')
            reply.header(REPLAYED_HEADER, 'true')
          }
          return sendCreated(reply, result.order)
        }
        case 'key_reused':
          return sendProblem(reply, 'idempotency_key_reused')
        case 'already_used':
          return sendUsed(reply, id)
        default: {
          const order = await lookup.findOrder(id)
          if (!order) return sendGone(reply, result.status)
          if (!idem || order.idem !== markOf(idem)) return sendUsed(reply, id)
          return sendCreated(reply.header(REPLAYED_HEADER, 'true'), order)
        }
      }
    },
  )

  app.get(
    '/api/orders',
    {
      onRequest: adminOrCustomer(config),
      schema: {
        tags: ['Orders'],
        summary: 'List orders, newest first',
        description: 'As PostgreSQL has them: what was answered 2xx. A customer sees own orders only.',
        security: [{ admin: [] }, { customer: [] }],
        querystring: OrderQuery,
        response: replies({ 200: Page(Order) }, ['validation_failed', ...NOT_ADMIN, 'unavailable']),
      },
    },
    async (request, reply) => {
      const { limit, cursor, ...asked } = request.query
      if (request.customer !== null && asked.customer_id !== undefined) {
        return sendInvalid(reply, '/customer_id', 'is said by the token')
      }
      const filter = request.customer === null ? asked : { ...asked, customer_id: request.customer }
      const after = cursor === undefined ? null : decodeCursor(cursor, ['number', 'string'])
      if (after === undefined) return sendInvalid(reply, '/cursor', 'is not a cursor')
      const found = await db.use((sql) => listOrders(sql, filter, after, limit + 1))
      const data = found.slice(0, limit).map(presentOrder)
      const last = found[limit - 1]
      const next_cursor =
        last && found.length > limit ? encodeCursor([last.created_at_ms, orderId(last.id)]) : null
      return { data, meta: { next_cursor } }
    },
  )

  app.get(
    '/api/orders/:id',
    {
      schema: {
        tags: ['Orders'],
        summary: 'Read an order',
        params: OrderParams,
        response: replies({ 200: Data(Order) }, ['order_not_found', ...AWAY]),
      },
    },
    async (request, reply) => {
      const id = readId('ord_', request.params.id)
      const order = id && (await findOwn(request, id))
      return order ? { data: presentOrder(order) } : sendProblem(reply, 'order_not_found')
    },
  )

  app.delete(
    '/api/orders/:id',
    {
      schema: {
        tags: ['Orders'],
        summary: 'Cancel an unpaid order; its units are free at once',
        params: OrderParams,
        response: replies({ 200: Data(Order) }, ['order_not_found', 'order_not_pending', ...AWAY]),
      },
    },
    async (request, reply) => {
      const id = readId('ord_', request.params.id)
      if (id === undefined) return sendProblem(reply, 'order_not_found')
      // Whose an order is never changes: nothing can come between this question and the act.
      if (request.customer !== null && !(await findOwn(request, id))) {
        return sendProblem(reply, 'order_not_found')
      }
      let result = await engine.cancelOrder(id).catch((error) => lookup.unknownIfMoved(id, error))
      if (result.status === 'unknown_order') {
        // A refusal changes nothing: only what can be cancelled comes back to Redis.
        const order = await lookup.findOrder(id)
        if (!order) return sendProblem(reply, 'order_not_found')
        if (order.order_status !== 'pre-payment') return sendProblem(reply, 'order_not_pending')
        await lookup.loadOrder(id)
        result = await engine.cancelOrder(id)
      }
      if (result.status !== 'cancelled') return sendProblem(reply, 'order_not_pending')
      await writer.commit(result.entry)
      return { data: presentOrder(result.order) }
    },
  )
}
