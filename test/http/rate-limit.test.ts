import t, { type Test } from 'tap'
import { build } from '../fixtures/app.ts'
import { isCluster, testRedisUrl } from '../fixtures/connect.ts'
import { openWay } from '../fixtures/outage.ts'
import { snapshot } from '../fixtures/refusals.ts'
import { bearer, newSecret, sign } from '../fixtures/tokens.ts'
import { times } from '../fixtures/until.ts'

const MAX = 5
const LIMIT = { RATE_LIMIT_PER_MINUTE: String(MAX) }
const LIMITED = { status: 429, body: { code: 'rate_limited' } }
const ADMIN = 'an-admin-token-of-some-length'

const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })
const open = async (t: Test, env: NodeJS.ProcessEnv = {}) => {
  const app = await build(t, { env: { ...LIMIT, ...env } })
  return { app, product_id: await app.product(1_000) }
}

t.test('without a limit nobody is counted', async (t) => {
  const app = await build(t)
  const path = `/api/products/${await app.product(1)}`
  const replies = await times(50, () => app.call('GET', path))
  t.ok(replies.every(({ status, headers }) => status === 200 && !('ratelimit-limit' in headers)))
  t.same(await app.keys('rate:*'), [])
})

t.test('each reply says what is left, and past the limit when to come again; nothing changes', async (t) => {
  const { app, product_id } = await open(t)
  const place = () => app.call('POST', '/api/holds', { product_id, qty: 1 })
  for (const left of [4, 3, 2, 1, 0]) {
    t.match(await place(), {
      status: 201,
      headers: { 'ratelimit-limit': '5', 'ratelimit-remaining': String(left), 'ratelimit-reset': /^\d+$/ },
    })
  }
  const before = await snapshot(app)
  const refused = await place()
  t.match(refused, { ...LIMITED, headers: { 'ratelimit-limit': '5', 'ratelimit-remaining': '0' } })
  const seconds = Number(refused.headers['retry-after'])
  t.ok(seconds >= 1 && seconds <= 60, `Retry-After ${seconds}`)
  t.equal(refused.headers['ratelimit-reset'], refused.headers['retry-after'])
  await app.redis.decr(app.engine.keys.rate('address:127.0.0.1'))
  t.same(await snapshot(app), before, 'but for the count of requests')
})

t.test('the limit is one for all routes together, but not for those of machines', async (t) => {
  const { app, product_id } = await open(t)
  const path = `/api/products/${product_id}`
  for (const one of [path, `${path}/stock`, '/api/products', '/api/holds/x', '/api/orders/x']) {
    t.not((await app.call('GET', one)).status, 429)
  }
  for (const [method, one] of [
    ...[
      ['GET', path],
      ['POST', '/api/holds'],
      ['GET', '/openapi.json'],
    ],
    ...[
      ['POST', '/api/orders'],
      ['GET', '/api/payments'],
      ['GET', `${path}/stock/stream`],
    ],
  ] as const) {
    t.match(await app.call(method, one), LIMITED, `${method} ${one}`)
  }
  for (const one of ['/healthz', '/readyz']) {
    t.match(await app.call('GET', one), { status: 200, headers: { 'ratelimit-limit': undefined } })
  }
  t.equal((await app.app.inject('/metrics')).statusCode, 200)
  t.match(await app.call('POST', '/api/payments/webhook', {}), { status: 400 })
  t.match(await app.call('POST', '/api/payments/webhook/stripe', {}), { status: 401 })
})

t.test('processes count together, in keys of the service that end by themselves', async (t) => {
  const { app } = await open(t)
  const beside = await build(t, { env: LIMIT, beside: app })
  const replies = await times(20, (at) => (at % 2 ? app : beside).call('GET', '/api/products'))
  t.equal(replies.filter(({ status }) => status === 200).length, MAX)
  const keys = await app.keys('rate:*')
  t.same(keys, [`${app.prefix}:rate:address:127.0.0.1`])
  const left_ms = await app.redis.pttl(keys[0] ?? '')
  t.ok(left_ms > 0 && left_ms <= 60_000)
  await app.redis.del(keys)
  t.match(await app.call('GET', '/api/products'), { status: 200 }, 'the next minute')
})

t.test('an address counts as the proxy tells it, where there is a proxy', async (t) => {
  const { app } = await open(t, { TRUST_PROXY: 'loopback' })
  for (const address of ['192.0.2.1', '192.0.2.2']) {
    const replies = await times(MAX, () => app.call('GET', '/api/products', undefined, from(address)))
    t.ok(
      replies.every(({ status }) => status === 200),
      address,
    )
    t.match(await app.call('GET', '/api/products', undefined, from(address)), LIMITED, address)
  }
})

t.test('neither a port nor another spelling makes another address', async (t) => {
  const { app } = await open(t, { TRUST_PROXY: 'loopback' })
  const same: Record<string, string[]> = {
    '192.0.2.1': [
      ...['192.0.2.1', '192.0.2.1:5678', '192.0.2.1:5679', '[::ffff:192.0.2.1]:443', '::ffff:c000:201'],
      // A proxy that is trusted tells its own port as well.
      '192.0.2.1, 127.0.0.1:443',
    ],
    '2001:db8::': [
      ...['2001:db8::1', '[2001:db8::1]:443', '[2001:DB8:0::1]', '2001:0db8:0:0:0:0:0:1', '2001:db8::1%eth0'],
      '2001:db8::2',
    ],
    // What is no address counts as the proxy that says it.
    '127.0.0.1': ['unknown', 'a', '1.2.3', '[1.2.3', '1.2.3.4.5:6', ':80'],
  }
  for (const [counted, [last = '', ...spellings]] of Object.entries(same)) {
    for (const address of spellings) {
      const reply = await app.call('GET', '/api/products', undefined, from(address))
      t.equal(reply.status, 200, address)
    }
    t.match(await app.call('GET', '/api/products', undefined, from(last)), LIMITED, last)
    t.equal(await app.redis.exists(app.engine.keys.rate(`address:${counted}`)), 1, counted)
  }
  for (const address of ['192.0.2.2:5678', '2001:db8:0:1::1']) {
    t.match(await app.call('GET', '/api/products', undefined, from(address)), { status: 200 }, address)
  }
})

t.test('without a proxy nobody chooses his own address', async (t) => {
  const { app } = await open(t)
  const replies = await times(MAX + 1, (at) =>
    app.call('GET', '/api/products', undefined, from(`192.0.2.${at}`)),
  )
  t.equal(replies.filter(({ status }) => status === 429).length, 1)
})

t.test('customers count by their tokens, and who has none by his address', async (t) => {
  const secret = newSecret()
  const { app } = await open(t, { CUSTOMER_JWT_SECRET: secret, ADMIN_TOKEN: ADMIN })
  const ask = (sub: string) => app.call('GET', '/api/holds/x', undefined, bearer(sign({ sub }, secret)))
  for (const sub of ['ada', 'bob']) {
    const replies = await times(MAX, () => ask(sub))
    t.ok(
      replies.every(({ status }) => status === 404),
      sub,
    )
    t.match(await ask(sub), LIMITED, sub)
  }
  const guess = () => app.call('GET', '/api/holds/x', undefined, bearer('guessed'))
  t.same(new Set((await times(MAX, guess)).map(({ status }) => status)), new Set([401]))
  t.match(await guess(), LIMITED)
})

t.test("guesses of the admin's token count", async (t) => {
  const { app } = await open(t, { ADMIN_TOKEN: ADMIN })
  const before = await snapshot(app)
  const guess = (at: number) => app.call('POST', '/api/products', {}, bearer(`guess-${at}`))
  const replies = await times(MAX + 1, guess)
  t.same(replies.map(({ status }) => status).sort(), [401, 401, 401, 401, 401, 429])
  await app.redis.del(await app.keys('rate:*'))
  t.same(await snapshot(app), before)
})

const skip = isCluster() && 'it cuts the connection to one Redis'
t.test(
  'while Redis is away nobody is counted: the answer is what it would be without a limit',
  { skip },
  async (t) => {
    const way = await openWay(t, testRedisUrl())
    const app = await build(t, { env: LIMIT, redis_url: way.url })
    way.goAway()
    const replies = await times(MAX + 3, () => app.call('GET', '/api/orders/x'))
    t.ok(
      replies.every(({ status }) => status === 404),
      'an id that none can have needs no Redis',
    )
    t.match(await app.call('POST', '/api/holds', { product_id: 1, qty: 1 }), { status: 503 })
  },
)
