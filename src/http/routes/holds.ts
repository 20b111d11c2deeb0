import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyReply } from 'fastify'
import type { HoldGone } from '../../engine/holds.ts'
import { orderId, parseId, shardOfId } from '../../engine/ids.ts'
import type { Order } from '../../engine/records.ts'
import { UnavailableError } from '../../errors.ts'
import { adminOnly } from '../auth.ts'
import { decodeCursor, encodeCursor } from '../cursor.ts'
import type { Deps } from '../deps.ts'
import { sendInvalid } from '../errors.ts'
import { sendRefusal } from '../hold-refusals.ts'
import { REPLAYED_HEADER, readIdem, refuseDoubledKey } from '../idempotency.ts'
import { createOwnerCheck, isForeign } from '../ownership.ts'
import { presentHold, presentOrderedHold } from '../present.ts'
import { sendProblem } from '../problem.ts'
import { createSendUnknown } from '../product-terms.ts'
import { AWAY, Data, IdempotencyHeaders, NOT_ADMIN, Page, replies } from '../schemas/common.ts'
import { Hold, HoldParams, HoldQuery, PlaceHoldBody } from '../schemas/holds.ts'

/** `expires_at` in ms, with what tells holds apart that end together. */
const SCORE = /^\d{1,15}(\.\d{1,9})?$/
/** The lines of a request, or what is wrong with it. */
function readItems(body: Static<typeof PlaceHoldBody>): Array<{ product_id: number; qty: number }> | string {
  const { product_id, qty, items } = body
  if (items) {
    if (product_id !== undefined || qty !== undefined) return 'must have either items or product_id and qty'
    const qty_by_product = new Map<number, number>()
    for (const item of items) {
      const sum = (qty_by_product.get(item.product_id) ?? 0) + item.qty
      if (!Number.isSafeInteger(sum)) return 'asks for more units than can be counted'
      qty_by_product.set(item.product_id, sum)
    }
    return items
  }
  if (product_id === undefined || qty === undefined) return 'must have product_id and qty, or items'
  return [{ product_id, qty }]
}

/** What a hold that is not live answers. */
export function sendGone(reply: FastifyReply, gone: HoldGone): FastifyReply {
  return sendProblem(reply, gone === 'not_found' ? 'hold_not_found' : `hold_${gone}`)
}

export function sendUsed(reply: FastifyReply, id: string): FastifyReply {
  return sendProblem(reply, 'hold_already_used', undefined, { order_id: orderId(id) })
}

export const holdRoutes: FastifyPluginAsyncTypebox<Deps> = async (
  app,
  { config, engine, writer, lookup },
) => {
  const sendUnknown = createSendUnknown(lookup)

  /** The id in a path, or undefined where no hold can have it. */
  function readId(text: string): string | undefined {
    const id = parseId('hld_', text)
    return id !== undefined && shardOfId(id) < engine.shards ? id : undefined
  }

  /** The order of a hold that Redis does not know, where PostgreSQL does; while PostgreSQL is away, Redis's word counts. */
  async function findOrder(id: string): Promise<Order | undefined> {
    try {
      return await lookup.findOrder(id)
    } catch (error) {
      if (error instanceof UnavailableError) return undefined
      throw error
    }
  }

  const checkOwner = createOwnerCheck({ engine, findOrder })

  app.post(
    '/api/holds',
    {
      config: { is_shed: true, is_bounded: true },
      preValidation: refuseDoubledKey,
      schema: {
        tags: ['Holds'],
        summary: 'Place a hold',
        headers: IdempotencyHeaders,
        body: PlaceHoldBody,
        response: replies({ 201: Data(Hold) }, [
          'validation_failed',
          'customer_required',
          'product_not_found',
          'insufficient_stock',
          'sale_not_started',
          'sale_ended',
          'sale_paused',
          'limit_exceeded',
          'currency_mismatch',
          'not_in_one_shard',
          'idempotency_key_reused',
          ...AWAY,
        ]),
      },
    },
    async (request, reply) => {
      const items = readItems(request.body)
      if (typeof items === 'string') return sendInvalid(reply, '', items)
      if (request.customer !== null && request.body.customer_id !== undefined) {
        return sendInvalid(reply, '/customer_id', 'is said by the token')
      }
      const customer_id = request.customer ?? request.body.customer_id ?? null
      const result = await engine.placeHold({ items, customer_id, idem: readIdem(request, 'holds') })
      if (result.status === 'product_not_found') return sendUnknown(reply, result.product_id)
      if (!('hold' in result)) {
        // Not returned: Fastify would wait until the last byte has left, for thousands of refusals at once.
        sendRefusal(reply, result)
        return
      }
      const data = presentHold(result.hold)
      if (result.status === 'replayed') reply.header(REPLAYED_HEADER, 'true')
      reply.code(201).header('location', `/api/holds/${data.hold_id}`)
      return { data }
    },
  )

  app.get(
    '/api/holds',
    {
      onRequest: adminOnly(config),
      schema: {
        tags: ['Holds'],
        summary: 'List live holds, soonest expiry first',
        description:
          'Holds that are paid for are among them, though they do not expire. With `?product_id=` a page may be short, or empty, and still not the last: that one has no `next_cursor`. A hold that is extended moves back in this order.',
        security: [{ admin: [] }],
        querystring: HoldQuery,
        response: replies({ 200: Page(Hold) }, ['validation_failed', ...NOT_ADMIN, ...AWAY]),
      },
    },
    async (request, reply) => {
      const { limit, cursor, product_id = null } = request.query
      const after = cursor === undefined ? null : decodeCursor(cursor, ['string', 'string'])
      if (after === undefined || (after && !SCORE.test(after[0])))
        return sendInvalid(reply, '/cursor', 'is not a cursor')
      const { holds, next } = await engine.readHolds(product_id, after, limit)
      const data = holds.map((hold) => presentHold(hold))
      return { data, meta: { next_cursor: next && encodeCursor([...next]) } }
    },
  )

  app.get(
    '/api/holds/:id',
    {
      schema: {
        tags: ['Holds'],
        summary: 'Read a hold',
        params: HoldParams,
        response: replies({ 200: Data(Hold) }, ['hold_not_found', 'hold_expired', 'hold_released', ...AWAY]),
      },
    },
    async (request, reply) => {
      const id = readId(request.params.id)
      if (id === undefined) return sendGone(reply, 'not_found')
      const result = await engine.readHold(id)
      if (result.status === 'live') {
        if (isForeign(request, result.hold)) return sendGone(reply, 'not_found')
        return { data: presentHold(result.hold) }
      }
      const order = result.status === 'already_used' ? result.order : await findOrder(id)
      if (order && !isForeign(request, order)) return { data: presentOrderedHold(order) }
      if (order || (result.status === 'released' && isForeign(request, result))) {
        return sendGone(reply, 'not_found')
      }
      return sendGone(reply, result.status as HoldGone)
    },
  )

  app.delete(
    '/api/holds/:id',
    {
      schema: {
        tags: ['Holds'],
        summary: 'Release a hold; its units are free at once',
        params: HoldParams,
        response: replies({ 204: Type.Null() }, [
          'hold_not_found',
          'hold_already_used',
          'hold_expired',
          ...AWAY,
        ]),
      },
    },
    async (request, reply) => {
      const id = readId(request.params.id)
      if (id === undefined) return sendGone(reply, 'not_found')
      const gone = await checkOwner(request, id)
      if (gone) return sendGone(reply, gone)
      const result = await engine.releaseHold(id)
      switch (result.status) {
        case 'released':
          if (result.entry) await writer.commit(result.entry)
          return reply.code(204).send(null)
        case 'already_released':
          await writer.finish(result.shard, result.entry_id)
          return reply.code(204).send(null)
        case 'already_used':
          return sendUsed(reply, id)
        default:
          return (await findOrder(id)) ? sendUsed(reply, id) : sendGone(reply, result.status)
      }
    },
  )

  app.post(
    '/api/holds/:id/extend',
    {
      schema: {
        tags: ['Holds'],
        summary: 'Let a hold end one full TTL from now, at most three TTLs after it was placed',
        params: HoldParams,
        response: replies({ 200: Data(Hold) }, [
          'hold_not_found',
          'hold_already_used',
          'extension_limit',
          'hold_expired',
          'hold_released',
          ...AWAY,
        ]),
      },
    },
    async (request, reply) => {
      const id = readId(request.params.id)
      if (id === undefined) return sendGone(reply, 'not_found')
      const gone = await checkOwner(request, id)
      if (gone) return sendGone(reply, gone)
      const result = await engine.extendHold(id)
      switch (result.status) {
        case 'extended':
          return { data: presentHold(result.hold) }
        case 'already_used':
          return sendUsed(reply, id)
        case 'extension_limit':
          return sendProblem(reply, 'extension_limit')
        default:
          return (await findOrder(id)) ? sendUsed(reply, id) : sendGone(reply, result.status)
      }
    },
  )
}
