import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Static } from '@sinclair/typebox'
import type { FastifyReply } from 'fastify'
import { createProduct, productPage } from '../../db/products.ts'
import type { Terms } from '../../engine/products.ts'
import { UnavailableError } from '../../errors.ts'
import { adminOnly } from '../auth.ts'
import { decodeCursor, encodeCursor } from '../cursor.ts'
import type { Deps } from '../deps.ts'
import { sendInvalid } from '../errors.ts'
import { presentProduct, presentStock } from '../present.ts'
import { sendProblem } from '../problem.ts'
import { Data, Page, PageQuery, replies, TextReply } from '../schemas/common.ts'
import { CreateProductBody, Product, ProductParams, StockWithState } from '../schemas/products.ts'
import { createStockStream } from '../stock-stream.ts'

/** A cart of ten such products still has an amount below 2^53; PostgreSQL checks the same. */
const MAX_PRODUCT_AMOUNT = 900_719_925_474_099

/** A moment in ms, or NaN where there is none: JavaScript takes the 31st of February for the 3rd of March. */
function parseMoment(text: string): number {
  const [year = 0, month = 0, day = 0] = text.slice(0, 10).split('-').map(Number)
  const is_day = new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day
  return is_day ? Date.parse(text) : Number.NaN
}

/** The terms in a body, or what is wrong with them. */
function readTerms(body: Static<typeof CreateProductBody>): Terms | { path: string; message: string } {
  const times = { starts_at: body.starts_at ?? null, ends_at: body.ends_at ?? null }
  const [starts_at_ms, ends_at_ms] = [times.starts_at, times.ends_at].map((time) =>
    time === null ? null : parseMoment(time),
  ) as [number | null, number | null]
  if (Number.isNaN(starts_at_ms)) return { path: '/starts_at', message: 'is not a moment' }
  if (Number.isNaN(ends_at_ms)) return { path: '/ends_at', message: 'is not a moment' }
  if (starts_at_ms !== null && ends_at_ms !== null && starts_at_ms >= ends_at_ms) {
    return { path: '/ends_at', message: 'must be later than starts_at' }
  }
  const { name, unit_amount, currency, hold_ttl_seconds } = body
  return {
    name,
    unit_amount,
    currency,
    hold_ttl_ms: hold_ttl_seconds ? hold_ttl_seconds * 1000 : null,
    starts_at_ms,
    ends_at_ms,
    paused: false,
    max_per_hold: body.max_per_hold ?? null,
    max_per_customer: body.max_per_customer ?? null,
  }
}

export const productRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, { config, engine, lookup, db }) => {
  const stream = createStockStream(engine)
  app.addHook('preClose', async () => stream.close())

  /** A product that Redis does not know: there is none, unless Redis has lost it. */
  async function sendUnknown(reply: FastifyReply, product_id: number): Promise<FastifyReply> {
    const is_lost = await lookup.isProduct(product_id)
    return sendProblem(reply, is_lost ? 'recovering' : 'product_not_found')
  }

  app.get(
    '/api/products',
    {
      config: { is_shed: true },
      schema: {
        tags: ['Products'],
        summary: 'List products by id',
        querystring: PageQuery,
        response: replies({ 200: Page(Product) }, [400]),
      },
    },
    async (request, reply) => {
      const { limit, cursor } = request.query
      const after = cursor === undefined ? [0] : decodeCursor(cursor, ['number'])
      if (!after || !Number.isSafeInteger(after[0])) return sendInvalid(reply, '/cursor', 'is not a cursor')
      const ids = await db.use((sql) => productPage(sql, after[0] as number, limit + 1))
      const found = await Promise.all(ids.slice(0, limit).map((id) => engine.readProduct(id)))
      const data = found.flatMap((product) => (product ? presentProduct(product, engine.hold_ttl_ms) : []))
      const last = ids.length > limit ? ids[limit - 1] : undefined
      const next_cursor = last === undefined ? null : encodeCursor([last])
      return { data, meta: { next_cursor } }
    },
  )

  app.post(
    '/api/products',
    {
      onRequest: adminOnly(config),
      schema: {
        tags: ['Products'],
        summary: 'Create a product',
        security: [{ admin: [] }],
        body: CreateProductBody,
        response: replies({ 201: Data(Product) }, [400, 401]),
      },
    },
    async (request, reply) => {
      const { total_stock } = request.body
      const terms = readTerms(request.body)
      if (!('name' in terms)) return sendInvalid(reply, terms.path, terms.message)
      if (total_stock > MAX_PRODUCT_AMOUNT || total_stock * terms.unit_amount > MAX_PRODUCT_AMOUNT) {
        return sendInvalid(reply, '/total_stock', 'makes the product worth more than can be counted')
      }
      const { id, shard } = await db.transaction((sql) =>
        createProduct(sql, terms, total_stock, engine.shards),
      )
      engine.knowProduct(id, shard, terms.hold_ttl_ms)
      await engine.loadProduct(shard, id, terms, { total: total_stock, pending: 0, sold: 0 })
      const product = await engine.readProduct(id)
      if (!product)
        throw new UnavailableError('unavailable', `product ${id} was lost as soon as it was created`)
      const data = presentProduct(product, engine.hold_ttl_ms)
      return reply.code(201).header('location', `/api/products/${id}`).send({ data })
    },
  )

  app.get(
    '/api/products/:id',
    {
      config: { is_shed: true },
      schema: {
        tags: ['Products'],
        summary: 'Read a product with its stock',
        params: ProductParams,
        response: replies({ 200: Data(Product) }, [400, 404]),
      },
    },
    async (request, reply) => {
      const product = await engine.readProduct(request.params.id)
      if (!product) return sendUnknown(reply, request.params.id)
      return { data: presentProduct(product, engine.hold_ttl_ms) }
    },
  )

  app.get(
    '/api/products/:id/stock',
    {
      config: { is_shed: true },
      schema: {
        tags: ['Products'],
        summary: 'Read the stock of a product',
        params: ProductParams,
        response: replies({ 200: Data(StockWithState) }, [400, 404]),
      },
    },
    async (request, reply) => {
      const product = await engine.readProduct(request.params.id)
      return product ? { data: presentStock(product) } : sendUnknown(reply, request.params.id)
    },
  )

  app.get(
    '/api/products/:id/stock/stream',
    {
      // A HEAD request would listen for ever to what it can not be told.
      exposeHeadRoute: false,
      schema: {
        tags: ['Products'],
        summary: 'Follow the stock of a product as server-sent events',
        description: 'Event `stock`, data as of /stock: one at once, then one within 250 ms of a change.',
        params: ProductParams,
        response: replies(
          { 200: TextReply('text/event-stream', 'Events, until the reader goes') },
          [400, 404],
        ),
      },
    },
    async (request, reply) => {
      const product = await engine.readProduct(request.params.id)
      if (!product) return sendUnknown(reply, request.params.id)
      reply.hijack()
      reply.raw.setHeader('x-request-id', request.id)
      stream.listen(product, reply.raw)
      return reply
    },
  )
}
