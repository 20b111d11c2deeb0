import type { FastifyRequest } from 'fastify'
import type { Engine } from '../engine/engine.ts'
import type { HoldGone } from '../engine/holds.ts'
import type { Order } from '../engine/records.ts'

type Owned = { customer_id: string | null }

/** Whether something belongs to somebody else than the customer of the request. To the admin nothing is foreign. */
export function isForeign(request: FastifyRequest, thing: Owned): boolean {
  return request.customer !== null && thing.customer_id !== request.customer
}

/**
 * Asks, before a customer acts on a hold, whether it is his own: the answer is why he may not, or undefined. Whose a hold is
 * never changes, so nothing can come between the question and the act; what nobody knows is not acted on.
 * Where there are no customers nothing is asked, so it costs them no call.
 */
export function createOwnerCheck(options: {
  engine: Engine
  findOrder: (id: string) => Promise<Order | undefined>
}) {
  const { engine, findOrder } = options
  return async (request: FastifyRequest, id: string): Promise<HoldGone | undefined> => {
    if (request.customer === null) return undefined
    const found = await engine.readHold(id)
    switch (found.status) {
      case 'live':
        return isForeign(request, found.hold) ? 'not_found' : undefined
      case 'already_used':
        return isForeign(request, found.order) ? 'not_found' : undefined
      case 'released':
        return isForeign(request, found) ? 'not_found' : undefined
      default: {
        const order = await findOrder(id)
        if (!order) return found.status
        return isForeign(request, order) ? 'not_found' : undefined
      }
    }
  }
}
