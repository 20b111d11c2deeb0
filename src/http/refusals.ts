import type { FastifyInstance } from 'fastify'
import { alsoRefused } from './schemas/common.ts'

const WITHOUT_BODY = ['GET', 'HEAD']

/** Documents how any request may be refused before its route is reached: malformed, or with a body that is none or too large. */
export function documentRefusals(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    alsoRefused(route, 'validation_failed')
    if (WITHOUT_BODY.includes(String(route.method))) return
    alsoRefused(route, 'body_too_large')
    alsoRefused(route, 'unsupported_media_type')
  })
}
