import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance } from 'fastify'
import { clientAddress } from './client-address.ts'
import type { Deps } from './deps.ts'
import { alsoRefused } from './schemas/common.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether this route is for machines that must always be heard. */
    is_unlimited?: boolean
  }
}

const WINDOW_MS = 60_000

/**
 * Lets each customer, else each address, send so many requests a minute, counted in Redis for all processes together. While
 * Redis is away nobody is counted. Signed webhooks and what watches the service are never refused.
 */
export async function addLimits(app: FastifyInstance, { config, engine }: Deps): Promise<void> {
  const max = config.RATE_LIMIT_PER_MINUTE
  if (max !== undefined) {
    await app.register(rateLimit, {
      global: false,
      max,
      timeWindow: WINDOW_MS,
      redis: engine.nodes.loose,
      nameSpace: engine.keys.rate(''),
      skipOnError: true,
      enableDraftSpec: true,
      keyGenerator: (request) =>
        request.customer === null ? `address:${clientAddress(request)}` : `customer:${request.customer}`,
    })
  }
  const limit = max === undefined ? undefined : app.rateLimit()
  app.addHook('onRoute', (route) => {
    const { is_signed, is_unlimited } = route.config ?? {}
    if (is_signed || is_unlimited) return
    alsoRefused(route, 'rate_limited')
    // Before the check of the admin's token, so that guesses count.
    if (limit) route.onRequest = [limit, ...[route.onRequest ?? []].flat()]
  })
}
