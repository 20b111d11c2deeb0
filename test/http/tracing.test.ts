import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { build } from '../fixtures/app.ts'
import { openCollector } from '../fixtures/collector.ts'

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'
const PARENT_ID = 'b7ad6b7169203331'

t.test('a collector gets the spans of a request, which continue the trace of its caller', async (t) => {
  const collector = await openCollector(t)
  const app = await build(t, { env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url } })
  const product_id = await app.product(3)
  const headers = { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01`, 'x-request-id': 'traced-1' }
  await app.expect(201, app.call('POST', '/api/holds', { product_id, qty: 1 }, { headers }))
  await app.call('GET', `/api/products/${product_id}`)
  await app.close()
  t.same([...collector.services], ['holdfast'])
  const traced = collector.spans.filter(({ traceId }) => traceId === TRACE_ID)
  const request = traced.find(({ parentSpanId }) => parentSpanId === PARENT_ID)
  t.match(request?.attributes, {
    'http.request.method': 'POST',
    'http.route': '/api/holds',
    'http.response.status_code': 201,
    'http.request.id': 'traced-1',
  })
  t.ok(
    traced.some(({ parentSpanId }) => parentSpanId === request?.spanId),
    'with the time of the handler',
  )
  const others = collector.spans.filter(({ traceId }) => traceId !== TRACE_ID)
  t.match(others.find(({ name }) => name === 'request')?.attributes, { 'http.route': '/api/products/:id' })
})

t.test('a collector that is away holds nobody up', async (t) => {
  const app = await build(t, { env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' } })
  await app.hold(await app.product(1))
  const closing_ms = performance.now()
  await app.close()
  t.ok(performance.now() - closing_ms < 8_000)
})

t.test('nothing of OpenTelemetry is loaded unless a collector is named', async (t) => {
  const loaded = async (env: NodeJS.ProcessEnv) => {
    const program = join(import.meta.dirname, 'fixtures', 'loaded.ts')
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', program], {
      env: { PATH: process.env.PATH, ...env },
    })
    return Number(/^loaded (\d+)$/m.exec(stdout)?.[1])
  }
  t.equal(await loaded({}), 0)
  t.ok(
    (await loaded({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' })) > 0,
    'the look finds what there is',
  )
})
