import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config.ts'
import { createAdminCheck } from './auth.ts'
import { sendProblem } from './problem.ts'
import { alsoRefused } from './schemas/common.ts'
import { createTokenReader, type ReadCustomer } from './tokens.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose holds and orders this request may see; null means everybody's: the admin, and all where no tokens are configured. */
    customer: string | null
  }
}

const BEARER = /^Bearer +([^ ]+) *$/i

/** Lets the admin and customers with a valid token pass, and notes which. */
function createIdentify(app: FastifyInstance, config: Config, readCustomer: ReadCustomer) {
  const isAdmin = config.ADMIN_TOKEN ? createAdminCheck(config) : () => false
  // Who guesses tokens is counted as well, by his address.
  const limit = app.hasDecorator('rateLimit') ? app.rateLimit() : undefined
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (isAdmin(request)) return
    const [, token] = BEARER.exec(request.headers.authorization ?? '') ?? []
    const customer = token && (await readCustomer(token))
    if (customer) {
      request.customer = customer
      return
    }
    await limit?.call(app, request, reply)
    await sendProblem(reply, 'unauthorized')
  }
}

/** Makes the routes of a plugin those of customers: with tokens configured, each request needs one. */
export async function addIdentity(app: FastifyInstance, config: Config): Promise<void> {
  app.addHook('onRoute', (route) => {
    alsoRefused(route, 'unauthorized')
    const { security = [{ customer: [] }, { admin: [] }, {}] } = route.schema ?? {}
    route.schema = { ...route.schema, security }
  })
  const readCustomer = await createTokenReader(config)
  if (readCustomer) app.addHook('onRequest', createIdentify(app, config, readCustomer))
}
