import { randomUUID } from 'node:crypto'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { Static } from '@sinclair/typebox'
import Fastify, { type FastifyReply, LogController } from 'fastify'
import { Data, IdempotencyHeaders, replies } from '../../src/http/schemas/common.ts'
import { Hold, PlaceHoldBody } from '../../src/http/schemas/holds.ts'

/*
  The HTTP face that all baselines share: the schemas of the service, its reply and its log settings; of Fastify itself the
  defaults. Nothing of what else the service does for a request: no limits of time, no shedding of load, no problem documents
  with a code, no random request id.
*/

const HOST = '127.0.0.1'
export const HOLD_TTL_MS = 3_600_000
/** `hld_` and this many characters are as long as the ids of the service. */
const ID_CHARS = 28

export type Held = { unit_amount: number; currency: string; created_at_ms: number; expires_at_ms: number }

function createApp() {
  return Fastify({
    logger: { level: 'info' },
    logController: new LogController({ disableRequestLogging: true }),
  }).withTypeProvider<TypeBoxTypeProvider>()
}

export type App = ReturnType<typeof createApp>

export const HOLD_SCHEMA = {
  headers: IdempotencyHeaders,
  body: PlaceHoldBody,
  response: replies({ 201: Data(Hold) }, [
    'validation_failed',
    'product_not_found',
    'insufficient_stock',
    'idempotency_key_reused',
  ]),
}

export const newId = () => randomUUID().slice(0, ID_CHARS)

/** The reply of the service to a hold on one product. */
export function presentHeld(id: string, product_id: number, qty: number, held: Held): Static<typeof Hold> {
  const { unit_amount, currency } = held
  return {
    hold_id: `hld_${id}`,
    order_id: `ord_${id}`,
    status: 'active',
    product_id,
    qty,
    items: [{ product_id, qty, unit_amount }],
    amount: unit_amount * qty,
    currency,
    customer_id: null,
    created_at: new Date(held.created_at_ms).toISOString(),
    expires_at: new Date(held.expires_at_ms).toISOString(),
  }
}

/** POST /api/holds over a store that takes one request at a time and answers undefined where units are short. */
export function addHoldRoute(
  app: App,
  place: (id: string, product_id: number, qty: number) => Promise<Held | undefined>,
): void {
  app.post('/api/holds', { schema: HOLD_SCHEMA }, async (request, reply) => {
    const { product_id = 1, qty = 1 } = request.body
    const id = newId()
    const held = await place(id, product_id, qty)
    reply.header('x-request-id', request.id)
    if (!held) return sendShort(reply)
    const data = presentHeld(id, product_id, qty, held)
    return reply.code(201).header('location', `/api/holds/${data.hold_id}`).send({ data })
  })
}

function sendShort(reply: FastifyReply): FastifyReply {
  const title = 'Not enough units are free'
  const type = 'urn:holdfast:problem:insufficient_stock'
  return reply.code(409).send({ type, title, status: 409, detail: `${title}.`, code: 'insufficient_stock' })
}

/** Listens on a free port of loopback, tells it to the process that started this one, and ends with that process. */
export async function serve(addRoutes: (app: App) => void): Promise<void> {
  const app = createApp()
  addRoutes(app)
  await app.listen({ host: HOST, port: 0 })
  const address = app.server.address()
  process.on('disconnect', () => process.exit())
  process.send?.({ port: typeof address === 'object' ? address?.port : undefined })
}
