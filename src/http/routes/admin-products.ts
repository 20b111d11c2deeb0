import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import { changeTerms, createProduct, type Shelved } from '../../db/terms.ts'
import { createAdjust } from '../adjust-stock.ts'
import { adminOnly } from '../auth.ts'
import type { Deps } from '../deps.ts'
import { sendInvalid } from '../errors.ts'
import { REPLAYED_HEADER, refuseDoubledKey } from '../idempotency.ts'
import { presentShelved } from '../present.ts'
import { sendProblem } from '../problem.ts'
import { createSendUnknown, newTerms, readTerms } from '../product-terms.ts'
import { AWAY, Data, NOT_ADMIN, RequiredIdempotencyHeaders, replies } from '../schemas/common.ts'
import {
  ChangeProductBody,
  CreateProductBody,
  ProductParams,
  ShelvedProduct,
  StockBody,
} from '../schemas/products.ts'

const TOO_MUCH = 'makes the product worth more than can be counted'

/** What only the admin does to products. PostgreSQL has committed it before Redis shows it. */
export const adminProductRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const { config, engine, lookup, publisher, recovery } = deps
  const adjust = createAdjust(deps)
  const sendUnknown = createSendUnknown(lookup)

  /** Brings committed terms to Redis, by a rebuild of the shard where it takes one. */
  async function publish(product: Shelved, is_new: boolean): Promise<void> {
    if (await publisher.publish(product, is_new)) return
    await recovery.reopen(product.shard, `the terms of product ${product.id} are new`)
  }

  async function sendProduct(reply: FastifyReply, id: number, shelf: string | null): Promise<FastifyReply> {
    const product = await engine.readProduct(id)
    if (!product) return sendUnknown(reply, id)
    return reply.send({ data: presentShelved(product, engine.hold_ttl_ms, shelf) })
  }

  app.post(
    '/api/products',
    {
      onRequest: adminOnly(config),
      schema: {
        tags: ['Products'],
        summary: 'Create a product',
        security: [{ admin: [] }],
        body: CreateProductBody,
        response: replies({ 201: Data(ShelvedProduct) }, ['validation_failed', ...NOT_ADMIN, ...AWAY]),
      },
    },
    async (request, reply) => {
      const { total_stock, shelf = null } = request.body
      const read = readTerms(request.body, newTerms(request.body), total_stock)
      if ('wrong' in read) return sendInvalid(reply, read.wrong.path, read.wrong.message)
      const product = await publisher.change((sql) =>
        createProduct(sql, read.terms, total_stock, shelf, engine.shards),
      )
      request.log.info({ product_id: product.id, total_stock, shelf }, 'a product was created')
      await publish(product, true)
      return sendProduct(reply.code(201).header('location', `/api/products/${product.id}`), product.id, shelf)
    },
  )

  app.patch(
    '/api/products/:id',
    {
      onRequest: adminOnly(config),
      schema: {
        tags: ['Products'],
        summary: 'Change the terms of a product, or pause its sale',
        description:
          'Holds keep the price, the currency and the TTL that they were placed with. `max_per_customer`, where the product had none and units are in use, rebuilds the shard, which refuses holds for a moment.',
        security: [{ admin: [] }],
        params: ProductParams,
        body: ChangeProductBody,
        response: replies({ 200: Data(ShelvedProduct) }, [
          'validation_failed',
          ...NOT_ADMIN,
          'product_not_found',
          ...AWAY,
        ]),
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const changed = await publisher.change((sql) =>
        changeTerms(sql, id, ({ terms, total }) => readTerms(request.body, terms, total)),
      )
      if (!changed) return sendProblem(reply, 'product_not_found')
      if ('wrong' in changed) return sendInvalid(reply, changed.wrong.path, changed.wrong.message)
      request.log.info({ product_id: id, terms: request.body }, 'the terms of a product were changed')
      await publish(changed, false)
      return sendProduct(reply, id, changed.shelf)
    },
  )

  app.post(
    '/api/products/:id/stock',
    {
      onRequest: adminOnly(config),
      preValidation: refuseDoubledKey,
      schema: {
        tags: ['Products'],
        summary: 'Add units to a product, or take free ones out of its sale',
        description: 'Units that are held, in orders or sold are never taken out.',
        security: [{ admin: [] }],
        params: ProductParams,
        headers: RequiredIdempotencyHeaders,
        body: StockBody,
        response: replies({ 200: Data(ShelvedProduct) }, [
          'validation_failed',
          ...NOT_ADMIN,
          'product_not_found',
          'stock_in_use',
          'idempotency_key_reused',
          ...AWAY,
        ]),
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const { delta, reason = null } = request.body
      if (delta === 0) return sendInvalid(reply, '/delta', 'must not be 0')
      const result = await adjust(id, delta, request.headers['idempotency-key'], reason)
      switch (result.status) {
        case 'adjusted':
          request.log.info({ product_id: id, delta, reason }, 'the stock of a product was changed')
          return sendProduct(reply, id, result.shelf)
        case 'replayed':
          return sendProduct(reply.header(REPLAYED_HEADER, 'true'), id, result.shelf)
        case 'stock_in_use':
          return sendProblem(reply, 'stock_in_use', undefined, { available: result.available })
        case 'key_reused':
          return sendProblem(reply, 'idempotency_key_reused')
        case 'too_much':
          return sendInvalid(reply, '/delta', TOO_MUCH)
        default:
          return sendUnknown(reply, id)
      }
    },
  )
}
