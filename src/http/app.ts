import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Ajv } from 'ajv'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import { createLog } from '../log.ts'
import { trustProxy } from './client-address.ts'
import { addDeadline, DEADLINE_MS } from './deadline.ts'
import type { Deps } from './deps.ts'
import { addDocs, VERSION } from './docs.ts'
import { addErrorHandlers, handleClientError, sendInvalid } from './errors.ts'
import { addIdentity } from './identity.ts'
import { addJsonParser } from './json.ts'
import { addLimits } from './limits.ts'
import { measureRoutes } from './measure.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { addLoadShedding } from './overload.ts'
import { sendProblem } from './problem.ts'
import { documentRefusals } from './refusals.ts'
import { adminProductRoutes } from './routes/admin-products.ts'
import { deskRoutes } from './routes/desk.ts'
import { holdRoutes } from './routes/holds.ts'
import { operationRoutes } from './routes/operations.ts'
import { orderRoutes } from './routes/orders.ts'
import { pageRoutes } from './routes/page.ts'
import { paymentRoutes } from './routes/payments.ts'
import { productRoutes } from './routes/products.ts'
import { isSimulated, simulatorRoutes } from './routes/simulator.ts'
import { stockStreamRoutes } from './routes/stock-streams.ts'
import { stripeRoutes } from './routes/stripe.ts'

const BODY_LIMIT_BYTES = 1024 * 1024
/** A client that takes longer to send its request is cut off. */
const REQUEST_TIMEOUT_MS = 10_000
const HEADERS_TIMEOUT_MS = 5_000
/** Longer than load balancers keep idle connections, so that they close first. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000
/** Ids may have 200 characters, which may come percent-encoded. */
const MAX_PARAM_CHARS = 600
const REQUEST_ID = /^[A-Za-z0-9._-]{1,100}$/

const process_name = randomBytes(9).toString('base64url')
let request_count = 0

/** A caller may name its request; anything but a plain word is replaced by a name that no other process gives. */
function requestId(request: IncomingMessage): string {
  const named = request.headers['x-request-id']
  if (typeof named === 'string' && REQUEST_ID.test(named)) return named
  request_count += 1
  return `${process_name}-${request_count.toString(36)}`
}

/** They keep what they have compiled for a schema, so that each is compiled once a process. */
const strict = new Ajv({ coerceTypes: false, removeAdditional: false, useDefaults: true, strict: false })
const reading = new Ajv({ coerceTypes: true, removeAdditional: false, useDefaults: true, strict: false })

/**
 * Bodies and headers are taken as they are: nothing coerced, nothing unknown dropped. Only paths and queries, which are text by
 * nature, are read as the numbers that their schema asks for.
 */
function addValidators(app: FastifyInstance): void {
  app.setValidatorCompiler(({ schema, httpPart }) =>
    (httpPart === 'params' || httpPart === 'querystring' ? reading : strict).compile(schema as object),
  )
}

/**
 * The HTTP service, ready to listen. `isDraining` says that the process is about to end; `log` and `metrics` are those of
 * this process unless others are given.
 */
export async function buildApp(
  deps: Deps & {
    isDraining?: () => boolean
    metrics?: Metrics
    log?: FastifyBaseLogger
    deadline_ms?: number
  },
): Promise<FastifyInstance> {
  const { config, isDraining = () => false, metrics = createMetrics(deps), deadline_ms = DEADLINE_MS } = deps
  const app = Fastify({
    ...(config.LOG_LEVEL !== 'silent' && { loggerInstance: deps.log ?? createLog(config.LOG_LEVEL) }),
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: trustProxy(config.TRUST_PROXY),
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    // Node would answer a request without Host itself, with neither a problem nor an id; the hook below does it.
    http: { headersTimeout: HEADERS_TIMEOUT_MS, requireHostHeader: false },
    routerOptions: { maxParamLength: MAX_PARAM_CHARS },
    genReqId: requestId,
    requestIdHeader: false,
    return503OnClosing: false,
    clientErrorHandler: handleClientError,
    frameworkErrors: (_error, request, reply) => {
      reply.header('x-request-id', request.id)
      sendProblem(reply, 'validation_failed', 'The URL is malformed.', {
        errors: [{ path: '/url', message: 'is malformed' }],
      })
    },
  }).withTypeProvider<TypeBoxTypeProvider>()

  if (config.OTEL_EXPORTER_OTLP_ENDPOINT) {
    const { addTracing } = await import('./tracing.ts')
    await addTracing(app, config.OTEL_EXPORTER_OTLP_ENDPOINT, VERSION)
  }
  addValidators(app)
  addJsonParser(app)
  addErrorHandlers(app)
  addDeadline(app, deadline_ms)
  measureRoutes(app, metrics)
  app.addHook('onRequest', (request, reply, done) => {
    request.came_ms = performance.now()
    reply.header('x-request-id', request.id)
    if (request.headers.host === undefined && request.raw.httpVersion === '1.1') {
      sendInvalid(reply, '/headers/host', 'is missing')
    } else done()
  })
  app.decorateRequest('customer', null)
  await addLoadShedding(app)
  // Before the limits: a page is two dozen files.
  await app.register(pageRoutes, deps)
  documentRefusals(app)
  await addLimits(app, deps)
  await addDocs(app)
  await app.register(productRoutes, deps)
  await app.register(stockStreamRoutes, deps)
  await app.register(adminProductRoutes, deps)
  await app.register(async (customers) => {
    await addIdentity(customers, config)
    await customers.register(holdRoutes, deps)
    await customers.register(orderRoutes, deps)
  })
  await app.register(paymentRoutes, deps)
  await app.register(stripeRoutes, deps)
  await app.register(operationRoutes, { ...deps, isDraining, metrics })
  await app.register(deskRoutes, { ...deps, metrics })
  if (isSimulated(config)) await app.register(simulatorRoutes, deps)
  return app
}
