import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import { productPage } from '../../db/products.ts'
import type { Product as ProductRead } from '../../engine/products.ts'
import { decodeCursor, encodeCursor } from '../cursor.ts'
import type { Deps } from '../deps.ts'
import { sendInvalid } from '../errors.ts'
import { presentProduct, presentStock } from '../present.ts'
import { sendProblem } from '../problem.ts'
import { createSendUnknown } from '../product-terms.ts'
import { AWAY, Data, Page, PageQuery, replies } from '../schemas/common.ts'
import { Product, ProductParams, StockWithState } from '../schemas/products.ts'

/**
 * Serializes what requests share once: those that gather into one read get the same product. The text is made by the schema
 * of the first reply, so the replies of one sender must have one schema.
 */
function shareText(present: (product: ProductRead) => object) {
  const texts = new WeakMap<ProductRead, string>()
  return (reply: FastifyReply, product: ProductRead): void => {
    const text = texts.get(product) ?? String(reply.serializeInput({ data: present(product) }, '200'))
    texts.set(product, text)
    reply.type('application/json; charset=utf-8').send(text)
  }
}

export const productRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, { engine, lookup, db }) => {
  const sendProduct = shareText((product) => presentProduct(product, engine.hold_ttl_ms))
  const sendStock = shareText(presentStock)
  const sendUnknown = createSendUnknown(lookup)

  app.get(
    '/api/products',
    {
      config: { is_shed: true },
      schema: {
        tags: ['Products'],
        security: [],
        summary: 'List products by id',
        querystring: PageQuery,
        response: replies({ 200: Page(Product) }, ['validation_failed', ...AWAY]),
      },
    },
    async (request, reply) => {
      const { limit, cursor } = request.query
      const after = cursor === undefined ? [0] : decodeCursor(cursor, ['number'])
      if (!after || !Number.isSafeInteger(after[0])) return sendInvalid(reply, '/cursor', 'is not a cursor')
      const ids = await db.use((sql) => productPage(sql, after[0] as number, limit + 1))
      const found = await Promise.all(ids.slice(0, limit).map((id) => engine.readProduct(id)))
      const lost = found.indexOf(undefined)
      if (lost >= 0 && (await lookup.isProduct(ids[lost] as number))) return sendProblem(reply, 'recovering')
      const data = found.flatMap((product) => (product ? presentProduct(product, engine.hold_ttl_ms) : []))
      const last = ids.length > limit ? ids[limit - 1] : undefined
      const next_cursor = last === undefined ? null : encodeCursor([last])
      return { data, meta: { next_cursor } }
    },
  )

  app.get(
    '/api/products/:id',
    {
      config: { is_shed: true, is_bounded: true },
      schema: {
        tags: ['Products'],
        security: [],
        summary: 'Read a product with its stock',
        params: ProductParams,
        response: replies({ 200: Data(Product) }, ['validation_failed', 'product_not_found', ...AWAY]),
      },
    },
    async (request, reply) => {
      const product = await engine.readProduct(request.params.id)
      if (!product) return sendUnknown(reply, request.params.id)
      sendProduct(reply, product)
    },
  )

  app.get(
    '/api/products/:id/stock',
    {
      config: { is_shed: true, is_bounded: true },
      schema: {
        tags: ['Products'],
        security: [],
        summary: 'Read the stock of a product',
        params: ProductParams,
        response: replies({ 200: Data(StockWithState) }, ['validation_failed', 'product_not_found', ...AWAY]),
      },
    },
    async (request, reply) => {
      const product = await engine.readProduct(request.params.id)
      if (!product) return sendUnknown(reply, request.params.id)
      sendStock(reply, product)
    },
  )
}
