import type { Static } from '@sinclair/typebox'
import { Data, replies } from '../../src/http/schemas/common.ts'
import { Product, ProductParams } from '../../src/http/schemas/products.ts'
import { HOLD_SCHEMA, HOLD_TTL_MS, newId, presentHeld, serve } from './serve.ts'

/*
  (b) and (b0): Fastify with the schemas and the replies of the service, and nothing behind them. With the argument `later`
  each answer goes through setImmediate (b), so that all that one tick of the event loop brought is answered together, which
  costs less than answering one by one. Without it each is answered at once (b0).
*/

const is_later = process.argv.includes('later')
const answer = is_later ? (send: () => void) => void setImmediate(send) : (send: () => void) => send()

const product: Static<typeof Product> = {
  id: 1,
  name: 'Plenty',
  unit_amount: 9900,
  currency: 'USD',
  available_stock: 900_000,
  stock: { total: 1_000_000, available: 900_000, held: 99_000, pending: 900, sold: 100 },
  state: 'available',
  starts_at: null,
  ends_at: null,
  hold_ttl_seconds: HOLD_TTL_MS / 1000,
  max_per_hold: null,
  max_per_customer: null,
}

await serve((app) => {
  app.post('/api/holds', { schema: HOLD_SCHEMA }, (request, reply) => {
    answer(() => {
      const { product_id = 1, qty = 1 } = request.body
      const created_at_ms = Date.now()
      const times = { created_at_ms, expires_at_ms: created_at_ms + HOLD_TTL_MS }
      const data = presentHeld(newId(), product_id, qty, { unit_amount: 9900, currency: 'USD', ...times })
      reply.code(201).header('x-request-id', request.id).header('location', `/api/holds/${data.hold_id}`)
      reply.send({ data })
    })
  })

  app.get(
    '/api/products/:id',
    {
      schema: {
        params: ProductParams,
        response: replies({ 200: Data(Product) }, ['validation_failed', 'product_not_found']),
      },
    },
    (request, reply) => {
      answer(() => {
        const data = { ...product, id: request.params.id }
        reply.header('x-request-id', request.id).send({ data })
      })
    },
  )
})
