import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import type { FollowedProduct } from '../../engine/products.ts'
import { clientAddress } from '../client-address.ts'
import type { Deps } from '../deps.ts'
import { sendProblem } from '../problem.ts'
import { createSendUnknown } from '../product-terms.ts'
import { AWAY, replies, TextReply } from '../schemas/common.ts'
import { FollowQuery, ProductParams } from '../schemas/products.ts'
import { createStockStream, FORMATS, type Format, readFollowed } from '../stock-stream.ts'
import type { Following } from '../stream-room.ts'

const FULL = 'As many follow stock here as can be told of it.'
const CLIENT_FULL = 'This address follows as much stock as one may while others want to as well.'
/** Listeners stay for minutes. */
const FULL_WAIT_SECONDS = 10
const EVENTS = TextReply('text/event-stream', 'Events, until the reader goes')

/** Server-sent events of stock: of one product, and of several over one connection, as browsers have only six to a host. */
export const stockStreamRoutes: FastifyPluginAsyncTypebox<Deps & { max_following?: Following }> = async (
  app,
  { engine, lookup, max_following },
) => {
  const stream = createStockStream(engine, { max: max_following })
  const sendUnknown = createSendUnknown(lookup)
  app.addHook('preClose', async () => stream.close())

  function follow(reply: FastifyReply, products: FollowedProduct[], format: Format): FastifyReply {
    // Whoever has gone while Redis was asked would never be heard to leave.
    if (reply.raw.destroyed) return reply.hijack()
    const client = clientAddress(reply.request)
    const room = stream.roomFor(
      client,
      products.map(({ id }) => id),
    )
    if (room === 'client_full') return sendProblem(reply, 'rate_limited', CLIENT_FULL, {}, FULL_WAIT_SECONDS)
    if (room === 'full') return sendProblem(reply, 'unavailable', FULL, {}, FULL_WAIT_SECONDS)
    reply.hijack()
    reply.raw.setHeader('x-request-id', reply.request.id)
    stream.listen(reply.raw, products, format, client)
    return reply
  }

  app.get(
    '/api/products/:id/stock/stream',
    {
      // A HEAD request would listen for ever to what it can not be told.
      exposeHeadRoute: false,
      schema: {
        tags: ['Products'],
        security: [],
        summary: 'Follow the stock of a product as server-sent events',
        description:
          'Event `stock`, data as of /stock: one at once, then one within 250 ms of a change, four a second at most. Who reads too slowly misses events, never the latest.',
        params: ProductParams,
        response: replies({ 200: EVENTS }, ['validation_failed', 'product_not_found', ...AWAY]),
      },
    },
    async (request, reply) => {
      const product = await engine.readProduct(request.params.id)
      if (!product) return sendUnknown(reply, request.params.id)
      return follow(reply, [{ ...product, next_chance_at_ms: null }], FORMATS.one)
    },
  )

  app.get(
    '/api/stock/stream',
    {
      exposeHeadRoute: false,
      schema: {
        tags: ['Products'],
        security: [],
        summary: 'Follow the stock of several products over one connection',
        description:
          'Event `stock`, as for one product, with `product_id` and, while all is held, `next_chance_at`: when units may come back.',
        querystring: FollowQuery,
        response: replies({ 200: EVENTS }, ['validation_failed', 'product_not_found', ...AWAY]),
      },
    },
    async (request, reply) => {
      const ids = [...new Set(request.query.product_ids.split(',').map(Number))]
      const products = await readFollowed(engine, ids)
      const missing = ids.find((id) => !products.some((product) => product.id === id))
      if (missing === undefined) return follow(reply, products, FORMATS.many)
      // It may be there, and its shard unreadable: this read says so by a refusal.
      if (await engine.readProduct(missing)) return sendProblem(reply, 'unavailable')
      return sendUnknown(reply, missing)
    },
  )
}
