import type { FastifyInstance } from 'fastify'
import { inTime } from './deadline.ts'

const SERVICE_NAME = 'holdfast'
/** What is still to be sent when the service ends has this long; a collector that hangs holds nobody up. */
const FLUSH_LIMIT_MS = 2_000

/**
 * Traces every request by OpenTelemetry and sends the spans to the collector at `endpoint`, by OTLP over HTTP. A request
 * that comes with `traceparent` continues its caller's trace. To be called before the routes are added. Nothing of
 * OpenTelemetry is loaded before, so that whoever does not trace pays nothing for it.
 */
export async function addTracing(
  app: FastifyInstance,
  endpoint: string,
  version: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  const [{ FastifyOtelInstrumentation }, { OTLPTraceExporter }, { resourceFromAttributes }, sdk, api] =
    await Promise.all([
      import('@fastify/otel'),
      import('@opentelemetry/exporter-trace-otlp-http'),
      import('@opentelemetry/resources'),
      import('@opentelemetry/sdk-trace-node'),
      import('@opentelemetry/api'),
    ])
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/$/, '')}/v1/traces`,
    timeoutMillis: FLUSH_LIMIT_MS,
  })
  const provider = new sdk.NodeTracerProvider({
    resource: resourceFromAttributes({
      'service.name': env.OTEL_SERVICE_NAME ?? SERVICE_NAME,
      'service.version': version,
    }),
    spanProcessors: [new sdk.BatchSpanProcessor(exporter)],
  })
  provider.register()
  const instrumentation = new FastifyOtelInstrumentation({
    // A span a request and one for its handler say where the time went; the hooks are too short to tell.
    instrumentHooks: false,
    requestHook: (span, request) => span.setAttribute('http.request.id', request.id),
  })
  instrumentation.setTracerProvider(provider)
  await app.register(instrumentation.plugin())
  app.addHook('onClose', async () => {
    instrumentation.disable()
    await inTime(provider.shutdown(), FLUSH_LIMIT_MS).catch(() => {})
    for (const one of [api.trace, api.context, api.propagation]) one.disable()
  })
}
