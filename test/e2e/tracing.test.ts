import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { startCollector } from '../fixtures/collector.ts'
import { sendPatiently as send } from '../fixtures/http.ts'
import { openGround, startServer } from '../fixtures/program.ts'
import { until } from '../fixtures/until.ts'

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN_ID = '00f067aa0ba902b7'
const STOPPED_WITHIN_MS = 10_000
const ARRIVES_WITHIN_MS = 30_000
const tellLoaded = {
  NODE_OPTIONS: `--import=${pathToFileURL(join(import.meta.dirname, 'fixtures/loaded.mjs')).href}`,
}

t.test('a collector that is named receives the spans of a request, in the trace of its caller', async (t) => {
  const ground = await openGround(t, 12)
  const product_id = await ground.product(5)
  const collector = await startCollector(t)
  const server = await startServer(t, {
    ...ground.env,
    ...tellLoaded,
    OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.endpoint}/`,
    OTEL_SERVICE_NAME: 'holdfast-test',
    OTEL_BSP_SCHEDULE_DELAY: '200',
  })
  const reply = await send(server.origin, {
    method: 'POST',
    path: '/api/holds',
    body: { product_id, qty: 1 },
    headers: { traceparent: `00-${TRACE_ID}-${SPAN_ID}-01`, 'x-request-id': 'a-request' },
  })
  t.equal(reply.status, 201)
  const ofTrace = () => collector.spans.filter(({ trace_id }) => trace_id === TRACE_ID)
  await until('two spans', () => ofTrace().length >= 2, ARRIVES_WITHIN_MS)
  const request = ofTrace().find(({ parent_id }) => parent_id === SPAN_ID)
  t.match(request, { service: 'holdfast-test' })
  t.match(request?.attributes, { 'http.route': '/api/holds', 'holdfast.request_id': 'a-request' })
  t.ok(
    ofTrace().some(({ parent_id }) => parent_id === request?.span_id),
    'and its handler',
  )
  t.same([...collector.paths], ['POST /v1/traces'])

  // What is left is sent at the end.
  await send(server.origin, { method: 'GET', path: '/healthz', headers: { 'x-request-id': 'the-last' } })
  server.kill('SIGTERM')
  t.same(await server.ended, { code: 0, signal: null })
  t.ok(collector.spans.some(({ attributes }) => attributes['holdfast.request_id'] === 'the-last'))
  t.match(server.output.stdout, /^loaded of OpenTelemetry: [1-9]/m, 'which the next test would notice')
})

t.test('without a collector nothing of OpenTelemetry is loaded', async (t) => {
  const ground = await openGround(t, 13)
  const server = await startServer(t, { ...ground.env, ...tellLoaded })
  t.equal((await send(server.origin, { method: 'GET', path: '/readyz' })).status, 200)
  server.kill('SIGTERM')
  t.same(await server.ended, { code: 0, signal: null })
  t.match(server.output.stdout, /^loaded of OpenTelemetry: 0, of all: [1-9]/m)
})

t.test('a collector that is away holds up neither requests nor the stop', async (t) => {
  const ground = await openGround(t, 14)
  const server = await startServer(t, {
    ...ground.env,
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
    OTEL_BSP_SCHEDULE_DELAY: '100',
  })
  for (let at = 0; at < 5; at += 1)
    t.equal((await send(server.origin, { method: 'GET', path: '/readyz' })).status, 200)
  const started_ms = performance.now()
  server.kill('SIGTERM')
  t.same(await server.ended, { code: 0, signal: null })
  t.ok(performance.now() - started_ms < STOPPED_WITHIN_MS, 'in time')
})
