import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config.ts'
import { sendProblem } from './problem.ts'

const digest = (text: string) => createHash('sha256').update(text).digest()

/**
 * Whether a request carries the admin's bearer token, compared in constant time. Without ADMIN_TOKEN everybody is the
 * admin, but only on a loopback address.
 */
export function createAdminCheck(config: Config): (request: FastifyRequest) => boolean {
  const token = config.ADMIN_TOKEN
  if (!token) return () => config.is_loopback
  const expected = digest(`Bearer ${token}`)
  return (request) => timingSafeEqual(digest(request.headers.authorization ?? ''), expected)
}

/** Lets the admin pass; 401 for everybody else, customers among them, before anything of the request is looked at. */
export function adminOnly(config: Config) {
  const isAdmin = createAdminCheck(config)
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (request.customer !== null || !isAdmin(request)) await sendProblem(reply, 'unauthorized')
  }
}

/** Lets the admin pass, and customers where there are tokens: what they get is their own alone. */
export function adminOrCustomer(config: Config) {
  const refuse = adminOnly(config)
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (request.customer === null) await refuse(request, reply)
  }
}
