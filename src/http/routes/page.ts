import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyError } from 'fastify'
import type { Config } from '../../config.ts'
import type { Deps } from '../deps.ts'
import { sendProblem } from '../problem.ts'
import { isSimulated } from './simulator.ts'

const { resolve } = createRequire(import.meta.url)
const WEB_DIR = fileURLToPath(new URL('../../web/', import.meta.url))
/** What the page takes from packages: where it finds it, and where the package has it. */
const VENDORS = {
  '/web/vendor/uplot/': join(dirname(resolve('uplot/package.json')), 'dist'),
  '/web/vendor/inter/': join(dirname(resolve('@fontsource-variable/inter/package.json')), 'files'),
}

/** The page runs its own scripts and talks to its own service, and nobody may put it into a frame. */
const HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    ...["script-src 'self'", "style-src 'self'", "img-src 'self'", "font-src 'self'", "connect-src 'self'"],
    ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

/** What a visitor needs to know of the configuration. */
type PageSettings = {
  /** Whether holds and orders need a token of a customer. */
  customers: 'open' | 'tokens'
  /** Whether the admin routes need a token; closed where none would do. */
  admin: 'open' | 'token' | 'closed'
  /** Whether payments can be simulated. */
  simulator: boolean
}

function adminOf(config: Config): PageSettings['admin'] {
  if (config.ADMIN_TOKEN) return 'token'
  return config.is_loopback ? 'open' : 'closed'
}

/** The live page, from src/web as it stands there. */
export const pageRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, { config }) => {
  const has_tokens = Boolean(config.CUSTOMER_JWT_SECRET || config.CUSTOMER_JWKS_URL)
  const settings: PageSettings = {
    customers: has_tokens ? 'tokens' : 'open',
    admin: adminOf(config),
    simulator: isSimulated(config),
  }
  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers(HEADERS)
    done()
  })
  // What is no file is no route either: a folder, say, or a path that leads out of here.
  app.setErrorHandler((error: FastifyError, _request, reply) => {
    if ((error.statusCode ?? 500) >= 500) throw error
    return sendProblem(reply, 'route_not_found')
  })
  await app.register(fastifyStatic, { root: WEB_DIR, prefix: '/web/', index: false })
  for (const [prefix, root] of Object.entries(VENDORS)) {
    await app.register(fastifyStatic, { root, prefix, decorateReply: false, index: false })
  }
  app.get('/', { schema: { hide: true } }, (_request, reply) => reply.sendFile('index.html'))
  app.get('/web/settings.json', { schema: { hide: true } }, () => settings)
}
