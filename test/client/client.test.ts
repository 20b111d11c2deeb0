import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { announcePayment, createClient, type Hold, signWebhook } from 'holdfast/client'
import t, { type Test } from 'tap'
import { build } from '../fixtures/app.ts'
import { testRedisUrl } from '../fixtures/connect.ts'
import { openWay } from '../fixtures/outage.ts'
import { newSecret, sign } from '../fixtures/tokens.ts'

type Answer = { status: number; retry_after?: string | (() => string) }
type Seen = { method: string; path: string; key: string | undefined; at_ms: number }

/** A server that gives these answers, one after the other, then 404; it notes what it was asked. */
async function openAnswers(t: Test, ...answers: Answer[]) {
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    const key = request.headers['idempotency-key'] as string | undefined
    seen.push({ method: request.method ?? '', path: request.url ?? '', key, at_ms: performance.now() })
    const { status, retry_after } = answers.shift() ?? { status: 404 }
    const text = typeof retry_after === 'function' ? retry_after() : retry_after
    response.writeHead(status, {
      'content-type': 'application/problem+json',
      ...(text ? { 'retry-after': text } : {}),
    })
    response.end(JSON.stringify({ code: `status_${status}` }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}
const AWAY: Answer = { status: 503, retry_after: '0' }

t.test('replies and refusals come as they are, typed', async (t) => {
  const app = await build(t)
  const product_id = await app.product(5)
  const client = createClient({ url: app.origin })
  const placed = await client.POST('/api/holds', { body: { product_id, qty: 2 } })
  const hold: Hold | undefined = placed.data?.data
  t.match(hold, { status: 'active', qty: 2 })
  t.equal(placed.response.status, 201)
  const refused = await client.POST('/api/holds', { body: { product_id, qty: 50 } })
  t.equal(refused.data, undefined)
  t.match(refused.error, { code: 'insufficient_stock', available: 3 })
  const path = { id: hold?.hold_id ?? '' }
  t.equal((await client.DELETE('/api/holds/{id}', { params: { path } })).response.status, 204)
  t.equal((await client.GET('/api/products')).data?.data.length, 1)
  // @ts-expect-error qty is a number
  t.match(await client.POST('/api/holds', { body: { product_id, qty: '2' } }), {
    error: { code: 'validation_failed' },
  })
  // @ts-expect-error there is no such route
  t.match(await client.GET('/api/nothing'), { error: { code: 'route_not_found' } })
})

t.test('a 503 is sent again with the same key, not before Retry-After', async (t) => {
  const server = await openAnswers(t, { status: 503, retry_after: '1' }, AWAY)
  const client = createClient({ url: server.url })
  const { error } = await client.POST('/api/holds', { body: { product_id: 1, qty: 1 } })
  t.match(error, { code: 'status_404' })
  const [first, second, third] = server.seen
  t.match(first?.key, /^[\w-]{36}$/)
  t.same(
    server.seen.map(({ key }) => key),
    [first?.key, first?.key, first?.key],
  )
  t.ok((second?.at_ms ?? 0) - (first?.at_ms ?? 0) >= 1_000)
  t.ok((third?.at_ms ?? 0) - (second?.at_ms ?? 0) < 1_000)
  await client.POST('/api/holds', { body: { product_id: 1, qty: 1 } })
  t.not(server.seen.at(-1)?.key, first?.key, 'another call is another request')
})

t.test('a key that the caller names is the one', async (t) => {
  const server = await openAnswers(t, AWAY)
  const client = createClient({ url: server.url })
  const params = { header: { 'idempotency-key': 'mine' } }
  await client.POST('/api/orders', { params, body: { hold_id: 'hld_x' } })
  t.same(
    server.seen.map(({ key }) => key),
    ['mine', 'mine'],
  )
})

t.test('tries and waits are bounded', async (t) => {
  const many = Array.from({ length: 10 }, () => AWAY)
  const hold = { body: { product_id: 1, qty: 1 } }
  const server = await openAnswers(t, ...many)
  t.match(await createClient({ url: server.url }).POST('/api/holds', hold), { error: { code: 'status_503' } })
  t.equal(server.seen.length, 4)
  await createClient({ url: server.url, max_tries: 1 }).POST('/api/holds', hold)
  t.equal(server.seen.length, 5)

  const later = () => new Date(Date.now() + 60_000).toUTCString()
  for (const retry_after of ['6', later]) {
    const patient = await openAnswers(t, { status: 503, retry_after })
    const { error } = await createClient({ url: patient.url }).POST('/api/holds', hold)
    t.match(error, { code: 'status_503' }, 'who would have to wait longer is told so')
    t.equal(patient.seen.length, 1)
  }
  const past = await openAnswers(t, { status: 503, retry_after: new Date(0).toUTCString() })
  await createClient({ url: past.url }).GET('/healthz')
  t.equal(past.seen.length, 2, 'a date may have passed')
})

t.test('what has no key and is not harmless to repeat is sent once; reads and deletions again', async (t) => {
  const server = await openAnswers(t, ...Array.from({ length: 6 }, () => AWAY))
  const client = createClient({ url: server.url })
  const body = { name: 'Shoe', unit_amount: 1, currency: 'USD', total_stock: 1 }
  t.match(await client.POST('/api/products', { body }), { error: { code: 'status_503' } })
  t.equal(server.seen.length, 1)
  const params = { path: { id: 'hld_x' } }
  await client.GET('/api/holds/{id}', { params })
  await client.DELETE('/api/holds/{id}', { params })
  t.same(
    server.seen.map(({ method }) => method),
    ['POST', ...Array(4).fill('GET'), ...['DELETE', 'DELETE']],
  )
  t.ok(server.seen.every(({ key }) => key === undefined))
})

t.test('other refusals are not sent again', async (t) => {
  for (const status of [400, 409, 429, 500]) {
    const server = await openAnswers(t, { status, retry_after: '0' })
    await createClient({ url: server.url }).POST('/api/holds', { body: { product_id: 1, qty: 1 } })
    t.equal(server.seen.length, 1, String(status))
  }
})

t.test('who gives up is not kept waiting', async (t) => {
  const server = await openAnswers(t, { status: 503, retry_after: '4' })
  const client = createClient({ url: server.url })
  const started_ms = performance.now()
  const signal = AbortSignal.timeout(50)
  await t.rejects(client.GET('/healthz', { signal }))
  t.ok(performance.now() - started_ms < 3_000)
})

t.test('through an outage of Redis a hold is placed once, and so it is when an answer is lost', async (t) => {
  const way = await openWay(t, testRedisUrl())
  const app = await build(t, { redis_url: way.url })
  const product_id = await app.product(5)
  let answers = 0
  const client = createClient({
    url: app.origin,
    max_tries: 20,
    async fetch(request) {
      const response = await fetch(request)
      answers += 1
      if (response.status === 503) way.pass()
      if (response.status === 201 && answers < 5) throw new TypeError('the answer is lost')
      return response
    },
  })
  way.goAway()
  const { data } = await client.POST('/api/holds', { body: { product_id, qty: 1 } })
  t.match(data?.data, { status: 'active' })
  t.ok(answers >= 5, `${answers} answers`)
  t.match(await app.stock(product_id), { held: 1 })
})

t.test('webhooks are signed as the service asks', async (t) => {
  const secret = `whsec_${randomBytes(32).toString('base64')}`
  const app = await build(t, { env: { WEBHOOK_SECRETS: secret } })
  const product_id = await app.product(5)
  const client = createClient({ url: app.origin })
  const { order_id } = await app.order(await app.hold(product_id))
  const plain = { idempotency_key: 'pay/№ 1', order_id, status: 'success' as const }
  const wrong = `whsec_${randomBytes(32).toString('base64')}`
  const server = await openAnswers(t, AWAY)
  await announcePayment(createClient({ url: server.url }), secret, plain)
  t.equal(server.seen.length, 2, 'its key stands in the body')
  t.match(await announcePayment(client, wrong, plain), { error: { code: 'invalid_signature' } })
  t.match(await announcePayment(client, secret, plain), { data: { data: { outcome: 'applied' } } })
  t.match(await announcePayment(client, secret, plain), { data: { data: { outcome: 'duplicate' } } })
  const { headers, body } = signWebhook(secret, plain, new Date(Date.now() - 600_000))
  t.match(await app.call('POST', '/api/payments/webhook', body, { headers }), { status: 401 })
  const signed = signWebhook(secret, plain)
  t.match(await app.call('POST', '/api/payments/webhook', signed.body, { headers: signed.headers }), {
    status: 200,
  })
})

t.test('a token is sent, and asked for before each request where it is a function', async (t) => {
  const secret = newSecret()
  const app = await build(t, { env: { CUSTOMER_JWT_SECRET: secret } })
  const product_id = await app.product(5)
  const body = { product_id, qty: 1 }
  t.match(await createClient({ url: app.origin }).POST('/api/holds', { body }), {
    error: { code: 'unauthorized' },
  })
  const ada = createClient({ url: app.origin, token: sign({ sub: 'ada' }, secret) })
  t.match(await ada.POST('/api/holds', { body }), { data: { data: { customer_id: 'ada' } } })
  const names = ['bob', 'eve']
  const changing = createClient({ url: app.origin, token: async () => sign({ sub: names.shift() }, secret) })
  t.match(await changing.POST('/api/holds', { body }), { data: { data: { customer_id: 'bob' } } })
  t.match(await changing.POST('/api/holds', { body }), { data: { data: { customer_id: 'eve' } } })
})
