import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Config, LOOPBACK } from '../config.ts'
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

const parseUrl = (text: string) => (URL.canParse(text) ? new URL(text) : undefined)

/**
 * Whether a request was sent by a page of this service, or by no page. A browser lets every page send requests to this machine,
 * with the page's `Origin`, and the page's own name may lead here by then, which `Host` tells.
 */
function isFromHere({ headers: { host, origin } }: FastifyRequest): boolean {
  const own = parseUrl(`http://${host}`)
  if (!own || !LOOPBACK.test(own.hostname)) return false
  return origin === undefined || parseUrl(origin)?.host === own.host
}

/**
 * Lets the admin pass; 401 for everybody else, customers among them, before anything of the request is looked at. Where
 * no token protects these routes, what a foreign page sends is 403.
 */
export function adminOnly(config: Config) {
  const isAdmin = createAdminCheck(config)
  const is_open = !config.ADMIN_TOKEN && config.is_loopback
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (is_open && !isFromHere(request)) return void (await sendProblem(reply, 'foreign_origin'))
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
