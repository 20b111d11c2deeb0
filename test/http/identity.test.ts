import t from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import type { Reply } from '../fixtures/http.ts'
import { snapshot } from '../fixtures/refusals.ts'
import type { HoldBody, OrderBody } from '../fixtures/resources.ts'
import { bearer, newSecret, sign } from '../fixtures/tokens.ts'
import { until, whenExtendable } from '../fixtures/until.ts'

const ADMIN = 'an-admin-token-of-some-length'
const SECRET = newSecret()
const UNAUTHORIZED = {
  status: 401,
  headers: { 'www-authenticate': 'Bearer' },
  body: { code: 'unauthorized' },
}

const app = await build(t, { env: { CUSTOMER_JWT_SECRET: SECRET, ADMIN_TOKEN: ADMIN } })
const product_id = await app.product(1_000)
const in_seconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds
const as = (sub: string) => bearer(sign({ sub }, SECRET))
const admin = bearer(ADMIN)
const withKey = ({ headers }: typeof admin, key: string) => ({
  headers: { ...headers, 'idempotency-key': key },
})

const hold = (sub: string): Promise<HoldBody> =>
  app.expect(201, app.call('POST', '/api/holds', { product_id, qty: 1 }, as(sub)))
const order = ({ hold_id }: HoldBody, sub: string): Promise<OrderBody> =>
  app.expect(201, app.call('POST', '/api/orders', { hold_id }, as(sub)))
/** An id of the same shape, and as long valid, that was never given out. */
const absent = (id: string) => `${id.slice(0, 4)}${'A'.repeat(16)}${id.slice(20)}`

/** Everything that can be asked about a hold, and done with it. */
const holdCalls = (hold_id: string): Array<[method: string, path: string, body?: object]> => [
  ['GET', `/api/holds/${hold_id}`],
  ['DELETE', `/api/holds/${hold_id}`],
  ['POST', `/api/holds/${hold_id}/extend`],
  ['POST', '/api/orders', { hold_id }],
]
const orderCalls = (order_id: string): Array<[method: string, path: string]> => [
  ['GET', `/api/orders/${order_id}`],
  ['DELETE', `/api/orders/${order_id}`],
]

t.test('a token that is not valid, or names no customer, is refused and changes nothing', async (t) => {
  const payload = { sub: 'ada' }
  const good = sign(payload, SECRET)
  const [head = '', , signature = ''] = good.split('.')
  const bob = Buffer.from('{"sub":"bob"}').toString('base64url')
  const bad: Record<string, string | undefined> = {
    'no header': undefined,
    'an empty header': '',
    'no token': 'Bearer',
    'a blank for a token': 'Bearer  ',
    'another scheme': `Basic ${good}`,
    'no scheme': good,
    'two tokens': `Bearer ${good} ${good}`,
    'what is no token': 'Bearer ada',
    'three parts of nothing': 'Bearer ..',
    'the admin token with more': `Bearer ${ADMIN}x`,
    'no signature': `Bearer ${sign(payload, SECRET, { alg: 'none' })}`,
    'a signature cut off': `Bearer ${good.slice(0, -signature.length)}`,
    'a secret that is not ours': `Bearer ${sign(payload, newSecret())}`,
    'an empty secret': `Bearer ${sign(payload, '')}`,
    'another algorithm': `Bearer ${sign(payload, SECRET, { alg: 'HS512' })}`,
    'a customer put in': `Bearer ${head}.${bob}.${signature}`,
    'a header that must be understood': `Bearer ${sign(payload, SECRET, { alg: 'HS256', crit: ['x'], x: 1 })}`,
    'an expired token': `Bearer ${sign({ ...payload, exp: in_seconds(-1) }, SECRET)}`,
    'an end that is no number': `Bearer ${sign({ ...payload, exp: 'never' }, SECRET)}`,
    'a token of the future': `Bearer ${sign({ ...payload, nbf: in_seconds(60) }, SECRET)}`,
    'no customer': `Bearer ${sign({}, SECRET)}`,
    'an empty customer': `Bearer ${sign({ sub: '' }, SECRET)}`,
    'a customer as a number': `Bearer ${sign({ sub: 17 }, SECRET)}`,
    'a customer in a list': `Bearer ${sign({ sub: ['ada'] }, SECRET)}`,
    'a customer of 201 characters': `Bearer ${sign({ sub: 'c'.repeat(201) }, SECRET)}`,
    'a customer with a line break': `Bearer ${sign({ sub: 'a\nb' }, SECRET)}`,
    'a customer with NUL': `Bearer ${sign({ sub: 'a\0' }, SECRET)}`,
    'a customer with half a character': `Bearer ${sign({ sub: '\ud83d' }, SECRET)}`,
  }
  const before = await snapshot(app)
  for (const [name, authorization] of Object.entries(bad)) {
    const headers = authorization === undefined ? {} : { authorization }
    const reply = await app.call('POST', '/api/holds', { product_id, qty: 1 }, { headers })
    t.match(reply, UNAUTHORIZED, name)
  }
  t.same(await snapshot(app), before, 'nothing changed')
})

t.test('a valid token names the customer', async (t) => {
  for (const sub of ['ada', 'auth0|5f7c', 'ä'.repeat(200), ' ', '🙂:x@y']) {
    t.equal((await hold(sub)).customer_id, sub)
  }
  const timed = sign({ sub: 'ada', nbf: in_seconds(-1), exp: in_seconds(60) }, SECRET)
  const headers = { authorization: `bearer ${timed}` }
  t.match(await app.call('POST', '/api/holds', { product_id, qty: 1 }, { headers }), {
    status: 201,
    body: { data: { customer_id: 'ada' } },
  })
})

t.test('without a token no route for holds and orders answers, and nothing changes', async (t) => {
  const live = await hold('ada')
  const made = await order(await hold('ada'), 'ada')
  const before = await snapshot(app)
  for (const [method, path, body] of [...holdCalls(live.hold_id), ...orderCalls(made.order_id)]) {
    t.match(await app.call(method, path, body), UNAUTHORIZED, `${method} ${path}`)
  }
  t.match(await app.call('POST', '/api/holds', '{'), UNAUTHORIZED, 'before the body is looked at')
  t.match(await app.call('GET', '/api/holds/x'), UNAUTHORIZED, 'nor does an id say anything')
  t.same(await snapshot(app), before)
  t.match(await app.readProduct(product_id), { id: product_id }, 'products are for everybody')
})

t.test('a customer in the body is refused beside a token', async (t) => {
  const before = await snapshot(app)
  for (const customer_id of ['bob', 'ada']) {
    t.match(await app.call('POST', '/api/holds', { product_id, qty: 1, customer_id }, as('ada')), {
      status: 400,
      body: { code: 'validation_failed', errors: [{ path: '/customer_id' }] },
    })
  }
  t.same(await snapshot(app), before)
})

t.test("another customer's hold or order is as if there were none, and nothing changes", async (t) => {
  const [live, released, ordered] = [await hold('ada'), await hold('ada'), await hold('ada')]
  const made = await order(ordered, 'ada')
  await app.call('DELETE', `/api/holds/${released.hold_id}`, undefined, as('ada'))
  const forgotten = await order(await hold('ada'), 'ada')
  await app.redis.del(app.engine.keys.id(0, 'order', forgotten.order_id.slice(4)))
  await app.agree(t, 'before')
  const before = await snapshot(app)
  for (const { hold_id } of [live, released, ordered, forgotten]) {
    const none = holdCalls(absent(hold_id))
    for (const [at, [method, path, body]] of holdCalls(hold_id).entries()) {
      const [none_method, none_path, none_body] = none[at] as [string, string, object?]
      const wanted = await app.call(none_method, none_path, none_body, as('bob'))
      const got = await app.call(method, path, body, as('bob'))
      t.match(got, { status: 404, body: { code: 'hold_not_found' } }, `${method} ${path}`)
      t.same(got.body, wanted.body)
    }
  }
  for (const { order_id } of [made, forgotten, live]) {
    for (const [method, path] of orderCalls(order_id)) {
      t.match(await app.call(method, path, undefined, as('bob')), {
        status: 404,
        body: { code: 'order_not_found' },
      })
    }
  }
  t.same(await snapshot(app), before, 'nothing changed')
})

t.test('control: without tokens whoever knows an id may do all that', async (t) => {
  const open = await build(t)
  const id = await open.product(10)
  const [live, other] = [await open.hold(id, 1, { customer_id: 'ada' }), await open.hold(id)]
  t.match(await open.call('POST', `/api/holds/${live.hold_id}/extend`), { status: 200 })
  t.match(await open.call('DELETE', `/api/holds/${live.hold_id}`), { status: 204 })
  t.match(await open.call('DELETE', `/api/orders/${(await open.order(other)).order_id}`), { status: 200 })
})

t.test('a customer does with his own holds and orders what everybody may', async (t) => {
  const mine = await whenExtendable(hold('ada'))
  t.match(await app.call('GET', `/api/holds/${mine.hold_id}`, undefined, as('ada')), { status: 200 })
  t.match(await app.call('POST', `/api/holds/${mine.hold_id}/extend`, undefined, as('ada')), { status: 200 })
  const made = await order(mine, 'ada')
  t.match(await app.call('GET', `/api/holds/${mine.hold_id}`, undefined, as('ada')), {
    body: { data: { status: 'ordered' } },
  })
  t.match(await app.call('POST', '/api/orders', { hold_id: mine.hold_id }, as('ada')), {
    status: 409,
    body: { code: 'hold_already_used', order_id: made.order_id },
  })
  t.match(await app.call('GET', `/api/orders/${made.order_id}`, undefined, as('ada')), { status: 200 })
  t.match(await app.call('DELETE', `/api/orders/${made.order_id}`, undefined, as('ada')), { status: 200 })
  const other = await hold('ada')
  for (const status of [204, 204]) {
    t.match(await app.call('DELETE', `/api/holds/${other.hold_id}`, undefined, as('ada')), { status })
  }
  const gone = { status: 410, body: { code: 'hold_released' } }
  t.match(await app.call('GET', `/api/holds/${other.hold_id}`, undefined, as('ada')), gone)
  t.match(await app.call('POST', '/api/orders', { hold_id: other.hold_id }, as('ada')), gone)
})

t.test('an expired hold answers that to its owner, ordered or extended', async (t) => {
  const short = await app.product(5, { hold_ttl_ms: 40 })
  const { hold_id } = await app.expect<HoldBody>(
    201,
    app.call('POST', '/api/holds', { product_id: short, qty: 1 }, as('ada')),
  )
  await until('its end', async () => (await app.engine.readHold(hold_id.slice(4))).status === 'expired')
  for (const [method, path, body] of holdCalls(hold_id)) {
    t.match(await app.call(method, path, body, as('ada')), { status: 410, body: { code: 'hold_expired' } })
  }
})

t.test('the admin sees and does all, in the name of a customer or of none', async (t) => {
  const placed = await app.expect<HoldBody>(
    201,
    app.call('POST', '/api/holds', { product_id, qty: 1, customer_id: 'ada' }, admin),
  )
  t.equal(placed.customer_id, 'ada')
  t.match(await app.call('GET', `/api/holds/${placed.hold_id}`, undefined, as('ada')), { status: 200 })
  const his = await whenExtendable(hold('bob'))
  t.match(await app.call('POST', `/api/holds/${his.hold_id}/extend`, undefined, admin), { status: 200 })
  const made = await app.expect<OrderBody>(
    201,
    app.call('POST', '/api/orders', { hold_id: his.hold_id }, admin),
  )
  t.equal(made.customer_id, 'bob')
  t.match(await app.call('DELETE', `/api/orders/${made.order_id}`, undefined, admin), { status: 200 })

  const nobodys = await app.expect<HoldBody>(
    201,
    app.call('POST', '/api/holds', { product_id, qty: 1 }, admin),
  )
  t.equal(nobodys.customer_id, null)
  t.match(await app.call('GET', `/api/holds/${nobodys.hold_id}`, undefined, as('ada')), { status: 404 })
  t.match(await app.call('DELETE', `/api/holds/${nobodys.hold_id}`, undefined, admin), { status: 204 })
})

t.test('without ADMIN_TOKEN nobody is the admin of holds and orders', async (t) => {
  const secret = newSecret()
  const open = await build(t, { env: { CUSTOMER_JWT_SECRET: secret } })
  const id = await open.product(5)
  for (const headers of [{}, { authorization: 'Bearer ' }, { authorization: 'Bearer undefined' }]) {
    t.match(await open.call('POST', '/api/holds', { product_id: id, qty: 1 }, { headers }), UNAUTHORIZED)
  }
  const placed = open.call(
    'POST',
    '/api/holds',
    { product_id: id, qty: 1 },
    bearer(sign({ sub: 'a' }, secret)),
  )
  t.match(await placed, { status: 201 })
})

t.test('a customer lists own orders, and no holds; the admin lists all', async (t) => {
  const mine = await order(await hold('eve'), 'eve')
  const his = await order(await hold('fred'), 'fred')
  const listed = async (headers: object, query = '') =>
    (
      await app.expect<OrderBody[]>(200, app.call('GET', `/api/orders?limit=100${query}`, undefined, headers))
    ).map(({ order_id }) => order_id)
  t.same(await listed(as('eve')), [mine.order_id])
  t.same(await listed(as('eve'), '&order_status=confirmed'), [])
  t.same(await listed(as('nobody')), [])
  const all = await listed(admin)
  t.ok(all.includes(mine.order_id) && all.includes(his.order_id))
  t.same(await listed(admin, '&customer_id=fred'), [his.order_id])
  t.match(await app.call('GET', '/api/orders?customer_id=fred', undefined, as('eve')), { status: 400 })
  t.match(await app.call('GET', '/api/orders'), UNAUTHORIZED)
  t.match(await app.call('GET', '/api/holds', undefined, as('eve')), UNAUTHORIZED)
  t.match(await app.call('GET', '/api/holds', undefined, admin), { status: 200 })

  const secret = newSecret()
  const open = await build(t, { env: { CUSTOMER_JWT_SECRET: secret } })
  const customer = bearer(sign({ sub: 'eve' }, secret))
  t.match(await open.call('GET', '/api/holds', undefined, customer), UNAUTHORIZED, 'on loopback too')
  t.match(await open.call('GET', '/api/orders', undefined, customer), { status: 200, body: { data: [] } })
})

t.test('equal idempotency keys of two customers have nothing to do with each other', async (t) => {
  const body = { product_id, qty: 1 }
  const place = (sub: string, key: string) => app.call('POST', '/api/holds', body, withKey(as(sub), key))
  const replayed = ({ headers }: Reply) => headers['idempotency-replayed']
  const dataOf = (reply: Reply) => (reply.body as { data: HoldBody }).data
  const key = newKey()
  const [ada, bob] = [await place('ada', key), await place('bob', key)]
  const by_admin = await app.call('POST', '/api/holds', body, withKey(admin, key))
  t.equal(new Set([ada, bob, by_admin].map((reply) => dataOf(reply).hold_id)).size, 3)
  t.same([ada, bob, by_admin].map(replayed), [undefined, undefined, undefined])
  t.equal(replayed(await place('ada', key)), 'true')
  t.equal((await place('ada', key)).text, ada.text)

  const tricky = [
    ...[await place('ada', `x:${key}`), await place('ada:x', key), await place('ada@x', key)],
    await app.call('POST', '/api/holds', body, withKey(admin, `ada:${key}`)),
  ]
  t.same(tricky.map(replayed), [undefined, undefined, undefined, undefined], 'however they are written')

  const create = (reply: Reply, { headers }: typeof admin) =>
    app.call('POST', '/api/orders', { hold_id: dataOf(reply).hold_id }, withKey({ headers }, key))
  const first = await create(ada, as('ada'))
  t.match(first, { status: 201 })
  t.match(await create(bob, as('bob')), { status: 201, headers: { 'idempotency-replayed': undefined } })
  t.match(await create(ada, as('bob')), { status: 404, body: { code: 'hold_not_found' } })
  t.equal((await create(ada, as('ada'))).text, first.text)
  t.match(await create(ada, admin), { status: 409, body: { code: 'hold_already_used' } })
})

t.test('a limit for each customer counts tokens', async (t) => {
  const limited = await app.product(10, { max_per_customer: 1 })
  const place = (sub: string) => app.call('POST', '/api/holds', { product_id: limited, qty: 1 }, as(sub))
  t.match(await place('ada'), { status: 201 })
  t.match(await place('ada'), { status: 409, body: { code: 'limit_exceeded' } })
  t.match(await place('bob'), { status: 201 })
})

t.test('in the end Redis and PostgreSQL agree', (t) => app.agree(t, 'in the end'))
