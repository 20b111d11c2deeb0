import t from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import { send } from '../fixtures/http.ts'
import { problemProblems } from '../fixtures/replies.ts'
import { until } from '../fixtures/until.ts'

const app = await build(t)

type Operation = {
  summary?: string
  tags?: string[]
  operationId?: string
  parameters?: Array<{ name: string; in: string; required?: boolean; schema: object }>
  requestBody?: { content: { [type: string]: { schema: { properties: object; required?: string[] } } } }
  responses: { [status: string]: { description: string; content?: { [type: string]: { schema: object } } } }
}
type Document = {
  openapi: string
  info: { title: string; version: string }
  paths: Record<string, Record<string, Operation>>
}

t.test('the process says that it lives, and that it is ready', async (t) => {
  t.same((await app.call('GET', '/healthz')).body, { data: { status: 'ok' } })
  t.match(await app.call('GET', '/readyz'), {
    status: 200,
    body: { data: { status: 'ready', checks: { redis: 'ok', postgresql: 'ok', fence: 'ok' } } },
  })
})

t.test('it is not ready while it is shutting down, and lives', async (t) => {
  app.draining.is = true
  t.match(await app.call('GET', '/readyz'), { status: 503, body: { code: 'unavailable' } })
  t.match(await app.call('GET', '/healthz'), { status: 200 })
  app.draining.is = false
})

t.test('it is not ready while the fence is closed, and opens it by itself', async (t) => {
  const id = await app.product(5)
  await app.redis.del(app.engine.keys.shard(0, 'epoch'))
  t.match(await app.call('POST', '/api/holds', { product_id: id, qty: 1 }), {
    status: 503,
    body: { code: 'recovering' },
  })
  await until('an open fence', async () => (await app.call('GET', '/readyz')).status === 200)
  t.match(await app.hold(id), { status: 'active' })
})

t.test('the numbers of the service are there for Prometheus', async (t) => {
  const metrics = async () => (await send(app.origin, { method: 'GET', path: '/metrics' })).text
  t.match(await metrics(), /^holdfast_fence_open\{shard="0"\} 1$/m)
  t.match(await metrics(), /^holdfast_journal_entries\{shard="0"\} 0$/m)
  const created = await app.engine.createOrder((await app.hold(await app.product(1))).hold_id.slice(4), null)
  t.match(await metrics(), /^holdfast_journal_entries\{shard="0"\} 1$/m, 'what PostgreSQL does not have')
  if (created.status === 'created') await app.service.writer.commit(created.entry)
  await until('the commit', async () => /^holdfast_journal_entries\{shard="0"\} 0$/m.test(await metrics()))
})

t.test('requests for holds are counted by what became of them', async (t) => {
  const counts = async () => {
    const { text } = await send(app.origin, { method: 'GET', path: '/metrics' })
    const lines = text.matchAll(/^holdfast_holds_total\{outcome="(\w+)"\} (\d+)$/gm)
    return Object.fromEntries([...lines].map(([, outcome, count]) => [outcome as string, Number(count)]))
  }
  const before = await counts()
  const product_id = await app.product(3)
  const keyed = { headers: { 'idempotency-key': newKey() } }
  for (const more of [{}, keyed, keyed]) await app.call('POST', '/api/holds', { product_id, qty: 1 }, more)
  await app.call('POST', '/api/holds', { product_id, qty: 9 })
  await app.call('POST', '/api/holds', { product_id, qty: '1' })
  await app.call('POST', '/api/holds', { product_id: product_id + 1_000, qty: 1 })
  const after = await counts()
  const outcomes = ['granted', 'replayed', 'insufficient_stock', 'validation_failed', 'product_not_found']
  t.same(
    outcomes.map((outcome) => (after[outcome] ?? 0) - (before[outcome] ?? 0)),
    [2, 1, 1, 1, 1],
  )
})

t.test('the OpenAPI document names every route with its replies', async (t) => {
  const { body, headers } = await send(app.origin, { method: 'GET', path: '/openapi.json' })
  t.match(headers['content-type'], /^application\/json/)
  const document = body as Document
  t.match(document, { openapi: /^3\.1\.\d+$/, info: { title: 'Holdfast', version: /^\d+\.\d+\.\d+$/ } })
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      path,
      operation,
    })),
  )
  const names = operations.map(({ name }) => name)
  const wanted = {
    'GET /api/products': ['200', '400', '503'],
    'GET /api/products/{id}': ['200', '400', '404', '503'],
    'GET /api/products/{id}/stock': ['200', '400', '404', '503'],
    'GET /api/products/{id}/stock/stream': ['400', '404', '503'],
    'POST /api/holds': ['201', '400', '404', '409', '422', '503'],
    'GET /api/holds/{id}': ['200', '404', '410', '503'],
    'DELETE /api/holds/{id}': ['204', '404', '409', '410', '503'],
    'POST /api/holds/{id}/extend': ['200', '404', '409', '410', '503'],
    'POST /api/orders': ['201', '400', '404', '409', '410', '422', '503'],
    'GET /api/orders/{id}': ['200', '404', '503'],
    'DELETE /api/orders/{id}': ['200', '404', '409', '503'],
    'POST /api/payments/webhook': ['200', '202', '400', '401', '413', '422', '503'],
    'GET /healthz': ['200'],
    'GET /readyz': ['200', '503'],
  }
  for (const [name, statuses] of Object.entries(wanted)) {
    t.ok(names.includes(name), name)
    const { responses = {} } = operations.find((one) => one.name === name)?.operation ?? {}
    t.same(
      statuses.filter((status) => !(status in responses)),
      [],
      `the replies of ${name}`,
    )
  }
  for (const { name, path, operation } of operations) {
    t.ok(operation.summary, `${name} says what it does`)
    const params = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
    const named = (operation.parameters ?? []).filter((one) => one.in === 'path').map((one) => one.name)
    t.same(named, params, `the parameters of ${name}`)
    for (const [status, { description, content }] of Object.entries(operation.responses)) {
      t.ok(description, `${name} ${status} is described`)
      if (Number(status) >= 400) t.same(Object.keys(content ?? {}), ['application/problem+json'])
    }
  }
})

t.test('the documentation is there to be read and tried', async (t) => {
  const get = (path: string) => send(app.origin, { method: 'GET', path })
  const docs = await get('/docs')
  t.match(docs, { status: 200, headers: { 'content-type': /^text\/html/ } })
  t.match(docs.text, /swagger/i)
  const scripts = [...docs.text.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] as string)
  t.ok(scripts.length > 0)
  for (const path of scripts) {
    const at = new URL(path, `${app.origin}/docs`)
    t.equal(at.origin, app.origin, 'it needs nobody else')
    t.equal((await get(at.pathname)).status, 200, path)
  }
})

t.test('every reply names its request, as the caller did or by itself', async (t) => {
  const paths = [
    '/healthz',
    '/api/products',
    '/api/products/0',
    '/nowhere',
    '/openapi.json',
    '/docs',
    '/',
    '/%zz',
    '/api/holds/x',
  ]
  const ids = new Set<string>()
  for (const path of paths) {
    const { headers } = await send(app.origin, { method: 'GET', path })
    t.match(headers['x-request-id'], /^[\w.-]{1,100}$/, path)
    ids.add(headers['x-request-id'] as string)
    const named = await send(app.origin, { method: 'GET', path, headers: { 'x-request-id': 'req-1.a_B' } })
    t.equal(named.headers['x-request-id'], 'req-1.a_B', path)
  }
  t.equal(ids.size, paths.length, 'they differ')
  for (const bad of ['a b', 'x'.repeat(101), 'ä', '<script>']) {
    const reply = await send(app.origin, {
      method: 'GET',
      path: '/healthz',
      headers: { 'x-request-id': bad },
    })
    t.not(reply.headers['x-request-id'], bad, 'what is no plain word is replaced')
  }
})

t.test('what is no route is a problem too', async (t) => {
  for (const [method, path] of [
    ['GET', '/nowhere'],
    ['PUT', '/api/holds'],
    ['DELETE', '/api/products/1'],
    ['GET', '/api/'],
  ] as const) {
    const reply = await app.call(method, path)
    t.match(reply, { status: 404, body: { code: 'route_not_found' } }, `${method} ${path}`)
  }
  for (const path of ['/%zz', '/api/products/%', `/api/holds/${'x'.repeat(700)}`]) {
    const reply = await send(app.origin, { method: 'GET', path })
    t.ok(reply.status >= 400 && reply.status < 500, `${path.slice(0, 40)}: ${reply.status}`)
    t.same(problemProblems(reply), [])
  }
})
