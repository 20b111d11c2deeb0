import t from 'tap'
import { build } from '../fixtures/app.ts'
import type { HoldBody } from '../fixtures/resources.ts'
import { until, whenExtendable } from '../fixtures/until.ts'

const HOUR_MS = 3_600_000
const TTL_MS = 120_000
const app = await build(t)
const place = (body: unknown) => app.call('POST', '/api/holds', body)

t.test('a hold takes units off the shelf, at a price that stays, until it expires', async (t) => {
  const id = await app.product(10)
  const reply = await place({ product_id: id, qty: 2, customer_id: 'c-17' })
  t.equal(reply.status, 201)
  const { data } = reply.body as { data: HoldBody }
  t.match(data, {
    hold_id: /^hld_[\w-]{28,}$/,
    order_id: /^ord_[\w-]{28,}$/,
    created_at: String,
    expires_at: String,
  })
  const { hold_id, order_id, created_at, expires_at } = data
  t.same(data, {
    ...{ hold_id, order_id, created_at, expires_at, status: 'active', product_id: id, qty: 2 },
    items: [{ product_id: id, qty: 2, unit_amount: 9900 }],
    ...{ amount: 19_800, currency: 'USD', customer_id: 'c-17' },
  })
  t.equal(Date.parse(expires_at) - Date.parse(created_at), TTL_MS)
  t.equal(reply.headers.location, `/api/holds/${hold_id}`)
  t.equal(reply.headers['idempotency-replayed'], undefined)
  t.same((await app.call('GET', reply.headers.location as string)).body, { data })
  t.match(await app.stock(id), { available: 8, held: 2 })
})

t.test('ids are not in order and do not repeat', async (t) => {
  const id = await app.product(50)
  const ids: string[] = []
  for (let count = 0; count < 50; count += 1) ids.push((await app.hold(id)).hold_id)
  t.equal(new Set(ids).size, 50)
  t.notSame(ids.toSorted(), ids)
  t.equal(new Set(ids.map((one) => one.slice(0, 12))).size, 50, 'nor do their beginnings')
})

t.test('a cart holds all its lines or none; lines of one product become one item', async (t) => {
  const shoe = await app.product(10)
  const sock = await app.product(3, { unit_amount: 500 })
  const items = [
    { product_id: shoe, qty: 1 },
    { product_id: sock, qty: 2 },
    { product_id: shoe, qty: 3 },
  ]
  const { body } = await place({ items })
  t.match(body, {
    data: {
      product_id: null,
      qty: null,
      customer_id: null,
      items: [
        { product_id: shoe, qty: 4, unit_amount: 9900 },
        { product_id: sock, qty: 2, unit_amount: 500 },
      ],
      amount: 40_600,
    },
  })
  t.equal((body as { data: HoldBody }).data.items.length, 2)

  const refused = await place({ items })
  t.match(refused, {
    status: 409,
    body: { code: 'insufficient_stock', product_id: sock, reason: 'too_many', available: 1 },
  })
  t.match(await app.stock(shoe), { available: 6, held: 4 }, 'the first line was not taken')

  const alone = await place({
    items: [
      { product_id: shoe, qty: 1 },
      { product_id: shoe, qty: 1 },
    ],
  })
  t.match(alone.body, { data: { product_id: shoe, qty: 2, items: [{ qty: 2 }] } }, 'a hold on one product')
})

t.test('lines of one product that are too many together are refused together', async (t) => {
  const id = await app.product(3)
  const line = { product_id: id, qty: 2 }
  t.match(await place({ items: [line, line] }), { status: 409, body: { reason: 'too_many', available: 3 } })
  t.match(await app.stock(id), { available: 3, held: 0 })
})

t.test('lines in different currencies are refused', async (t) => {
  const items = [
    { product_id: await app.product(1), qty: 1 },
    { product_id: await app.product(1, { currency: 'EUR' }), qty: 1 },
  ]
  t.match(await place({ items }), { status: 409, body: { code: 'currency_mismatch' } })
})

t.test('products that live in different shards can not be held together', async (t) => {
  const sharded = await build(t, { env: { STOCK_SHARDS: '3' } })
  const products = [
    await sharded.product(5, { shard: 0 }),
    await sharded.product(5, { shard: 1 }),
    await sharded.product(5, { shard: 1 }),
  ] as const
  const cart = (...ids: number[]) =>
    sharded.call('POST', '/api/holds', { items: ids.map((product_id) => ({ product_id, qty: 1 })) })
  t.match(await cart(products[0], products[1]), { status: 409, body: { code: 'not_in_one_shard' } })
  t.match(await cart(products[1], products[2]), { status: 201 })
  for (const id of products)
    await sharded.paid((await sharded.order(await sharded.hold(id))).order_id, 'success')
  await sharded.agree(t, 'after a sale in each shard')
})

t.test('what is not free is refused with its reason', async (t) => {
  const id = await app.product(3)
  const refused = (qty: number) => place({ product_id: id, qty })
  t.match(await refused(4), { status: 409, body: { reason: 'too_many', available: 3, product_id: id } })
  const hold = await app.hold(id, 3)
  const all_held = await place({ product_id: id, qty: 1 })
  t.match(all_held, { status: 409, body: { code: 'insufficient_stock', reason: 'all_held', available: 0 } })
  const seconds = Number(all_held.headers['retry-after'])
  t.ok(seconds >= 1 && seconds <= TTL_MS / 1000, `may come back in ${seconds} s`)
  await app.paid((await app.order(hold)).order_id, 'success')
  const sold_out = await place({ product_id: id, qty: 1 })
  t.match(sold_out, { status: 409, body: { reason: 'sold_out', available: 0 } })
  t.equal(sold_out.headers['retry-after'], undefined, 'there is nothing to wait for')
  t.match(await place({ product_id: 999_999, qty: 1 }), { status: 404, body: { code: 'product_not_found' } })
})

t.test('a sale has its hours, and can be paused', async (t) => {
  const refusals = [
    ['sale_paused', { paused: true }],
    ['sale_not_started', { starts_at_ms: Date.now() + HOUR_MS }],
    ['sale_ended', { ends_at_ms: Date.now() - HOUR_MS }],
  ] as const
  for (const [code, terms] of refusals) {
    const id = await app.product(5, terms)
    t.match(await place({ product_id: id, qty: 1 }), { status: 409, body: { code } }, code)
    t.match(await app.stock(id), { available: 5 })
  }
})

t.test('a hold may be limited, and so may a customer, over holds and orders', async (t) => {
  const id = await app.product(50, { max_per_hold: 3, max_per_customer: 4 })
  const ask = (qty: number, customer_id?: string) => place({ product_id: id, qty, customer_id })
  t.match(await ask(1), { status: 400, body: { code: 'customer_required' } })
  t.match(await ask(4, 'ada'), { status: 409, body: { code: 'limit_exceeded', limit: 3 } })
  const hold = await app.hold(id, 3, { customer_id: 'ada' })
  t.match(await ask(2, 'ada'), { status: 409, body: { code: 'limit_exceeded', limit: 4 } })
  const order = await app.order(hold)
  await app.hold(id, 1, { customer_id: 'ada' })
  t.match(await ask(1, 'ada'), { status: 409 }, 'units in an order count')
  t.match(await ask(3, 'bob'), { status: 201 }, 'every customer alone')
  await app.paid(order.order_id, 'failed')
  t.match(await ask(3, 'ada'), { status: 201 }, 'units that went back do not')
})

t.test('a released hold gives its units back at once, and once', async (t) => {
  const id = await app.product(5)
  const { hold_id } = await app.hold(id, 3)
  const path = `/api/holds/${hold_id}`
  t.match(await app.call('DELETE', path), { status: 204 })
  t.match(await app.stock(id), { available: 5, held: 0 })
  t.match(await app.call('DELETE', path), { status: 204 }, 'again')
  t.match(await app.stock(id), { available: 5, held: 0 })
  t.match(await app.call('GET', path), { status: 410, body: { code: 'hold_released' } })
  t.match(await app.call('POST', `${path}/extend`), { status: 410, body: { code: 'hold_released' } })
  t.match(await app.call('POST', '/api/orders', { hold_id }), {
    status: 410,
    body: { code: 'hold_released' },
  })
})

t.test('a hold that is an order is no longer there to release or extend', async (t) => {
  const id = await app.product(5)
  const hold = await app.hold(id, 2)
  const { order_id } = await app.order(hold)
  const path = `/api/holds/${hold.hold_id}`
  t.match(await app.call('GET', path), { status: 200, body: { data: { ...hold, status: 'ordered' } } })
  const used = { status: 409, body: { code: 'hold_already_used', order_id } }
  t.match(await app.call('DELETE', path), used)
  t.match(await app.call('POST', `${path}/extend`), used)
  t.match(await app.stock(id), { available: 3, pending: 2 })
})

t.test('a hold can be extended to a full TTL from now, until three TTLs after it was placed', async (t) => {
  const ttl_ms = 1_000
  const id = await app.product(5, { hold_ttl_ms: ttl_ms })
  const hold = await whenExtendable(app.hold(id))
  const placed_ms = Date.parse(hold.created_at)
  const ends = [Date.parse(hold.expires_at)]
  t.equal(ends[0], placed_ms + ttl_ms)
  await until('the limit of extension', async () => {
    const reply = await app.call('POST', `/api/holds/${hold.hold_id}/extend`)
    if (reply.status === 409) return (reply.body as { code: string }).code === 'extension_limit'
    ends.push(Date.parse((reply.body as { data: HoldBody }).data.expires_at))
    return false
  })
  t.same(
    ends,
    ends.toSorted((a, b) => a - b),
    'never shorter',
  )
  t.equal(ends.at(-1), placed_ms + 3 * ttl_ms)
  t.match((await app.expect(200, app.call('GET', `/api/holds/${hold.hold_id}`))) as HoldBody, {
    expires_at: new Date(placed_ms + 3 * ttl_ms).toISOString(),
  })
})

t.test('a hold is dead at its end, swept or not, and the next buyer gets its units', async (t) => {
  const id = await app.product(1, { hold_ttl_ms: 300 })
  const hold = await app.hold(id)
  const path = `/api/holds/${hold.hold_id}`
  await until('its end', async () => (await app.call('GET', path)).status === 410)
  const expired = { status: 410, body: { code: 'hold_expired' } }
  t.match(await app.call('POST', '/api/orders', { hold_id: hold.hold_id }), expired)
  t.match(await app.call('POST', `${path}/extend`), expired)
  t.match(await app.call('DELETE', path), expired)
  const next = await app.hold(id)
  t.match(await app.call('POST', `${path}/extend`), expired, 'also when its units have another buyer')
  t.match(await app.call('DELETE', path), expired)
  t.match(await app.stock(id), { available: 0, held: 1 })
  t.not(next.hold_id, hold.hold_id)
})

t.test('a hold that never was is not found', async (t) => {
  const never = [
    'nonsense',
    'hld_',
    `hld_${'x'.repeat(29)}`,
    `hld_${'A'.repeat(16)}fffffffffff0`,
    `ord_${'A'.repeat(16)}fffffffffff0`,
  ]
  for (const id of [...never, `hld_${'A'.repeat(16)}fffffffffff7`]) {
    const missing = { status: 404, body: { code: 'hold_not_found' } }
    t.match(await app.call('GET', `/api/holds/${id}`), missing, id)
    t.match(await app.call('DELETE', `/api/holds/${id}`), missing)
    t.match(await app.call('POST', `/api/holds/${id}/extend`), missing)
    t.match(await app.call('POST', '/api/orders', { hold_id: id }), missing)
  }
})
