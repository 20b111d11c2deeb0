import t from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import type { ProductBody } from '../fixtures/resources.ts'
import { times, until } from '../fixtures/until.ts'

const HOUR_MS = 3_600_000
const app = await build(t)
const beside = await build(t, { beside: app })
const shoe = { name: 'Shoe', unit_amount: 9900, currency: 'USD', total_stock: 20 }

type Term = ProductBody & { name: string; unit_amount: number; max_per_customer: number | null }
const create = (more: object = {}): Promise<Term> =>
  app.expect(201, app.call('POST', '/api/products', { ...shoe, ...more }))
const change = (id: number, body: object, by = app) => by.call('PATCH', `/api/products/${id}`, body)
const place = (product_id: number, qty = 1, more: object = {}, by = app) =>
  by.call('POST', '/api/holds', { product_id, qty, ...more })
const inHours = (hours: number) => new Date(Date.now() + hours * HOUR_MS).toISOString()

t.test('the terms of a product change at once, in every process, and what is not named stays', async (t) => {
  const { id, ...before } = await create({ max_per_hold: 4, hold_ttl_seconds: 30 })
  await app.hold(id, 2)
  const reply = await change(id, { name: 'Boot', unit_amount: 7900, currency: 'EUR' })
  const stock = { total: 20, available: 18, held: 2, pending: 0, sold: 0 }
  const wanted = {
    ...before,
    ...{ id, name: 'Boot', unit_amount: 7900, currency: 'EUR', stock, available_stock: 18 },
  }
  t.match(reply, { status: 200, body: { data: wanted } })
  t.same(await app.readProduct(id), wanted)
  t.same(await beside.readProduct(id), wanted)
  await app.agree(t, 'afterwards')
})

t.test('a term that is null is taken away', async (t) => {
  const terms = { starts_at: inHours(-1), ends_at: inHours(1), hold_ttl_seconds: 30, max_per_hold: 2 }
  const { id } = await create({ ...terms, max_per_customer: 3 })
  const none = { starts_at: null, ends_at: null, max_per_hold: null, max_per_customer: null }
  t.match(await change(id, { ...none, hold_ttl_seconds: null }), { status: 200 })
  t.match(await app.readProduct(id), { ...none, hold_ttl_seconds: 120 })
  t.match(await place(id, 5), { status: 201 }, 'no limit, no customer')
})

t.test('a sale is paused and goes on, and its hours change, for the very next buyer', async (t) => {
  const { id } = await create()
  const live = await app.hold(id)
  for (const [body, state, code] of [
    [{ paused: true }, 'paused', 'sale_paused'],
    [{ paused: false, starts_at: inHours(1) }, 'not_started', 'sale_not_started'],
    [{ starts_at: inHours(-2), ends_at: inHours(-1) }, 'ended', 'sale_ended'],
  ] as const) {
    t.match(await change(id, body), { status: 200, body: { data: { state } } })
    t.match(await place(id, 1, {}, beside), { status: 409, body: { code } })
  }
  t.match(await app.order(live), { order_status: 'pre-payment' }, 'a hold that lives may be ordered')
  t.match(await change(id, { ends_at: null }), { status: 200, body: { data: { state: 'available' } } })
  t.match(await place(id, 1, {}, beside), { status: 201 })
})

t.test('holds keep the price, the currency and the TTL that they were placed with', async (t) => {
  const { id } = await create({ hold_ttl_seconds: 60 })
  const hold = await app.hold(id, 2)
  await change(id, { unit_amount: 1, currency: 'EUR', hold_ttl_seconds: 5 })
  const path = `/api/holds/${hold.hold_id}`
  t.match(await app.call('GET', path), { body: { data: { amount: 19800, currency: 'USD' } } })
  const extended = await until('an extension', async () => {
    const reply = await app.call('POST', `${path}/extend`)
    return reply.status === 200 && (reply.body as { data: { expires_at: string } }).data
  })
  t.ok(Date.parse(extended.expires_at) > Date.parse(hold.expires_at), 'by its own TTL')
  const order = await app.order(hold)
  t.match(order, { amount: 19800, currency: 'USD', items: [{ unit_amount: 9900 }] })
  t.match(await app.paid(order.order_id, 'success', { amount: 19800, currency: 'USD' }), {
    outcome: 'applied',
  })
  t.match(await app.hold(id), { amount: 1, currency: 'EUR', items: [{ unit_amount: 1 }] })
  await app.agree(t, 'afterwards')
})

t.test(
  'of changes that come at once every one counts, and Redis ends with what PostgreSQL has',
  async (t) => {
    const { id } = await create()
    const replies = await times(40, (at) =>
      change(id, at % 2 === 0 ? { name: `name ${at}` } : { unit_amount: at }, at % 4 < 2 ? app : beside),
    )
    t.same(new Set(replies.map(({ status }) => status)), new Set([200]))
    const [row] = await app.sql<Term & { terms_version: number; loaded_version: number }>(
      'select name, unit_amount, terms_version, loaded_version from products where id = $1',
      [id],
    )
    t.match(row, { terms_version: 41, loaded_version: 41 })
    t.match(await app.readProduct(id), { name: row?.name, unit_amount: row?.unit_amount })
  },
)

t.test('what a process committed and could not bring to Redis is brought there by a sweeper', async (t) => {
  const swept = await build(t, { sweeper: true })
  const { id } = (await swept.expect(201, swept.call('POST', '/api/products', shoe))) as Term
  await swept.sql(
    `update products set paused = true, terms_version = terms_version + 1, terms_changed_at = now() where id = $1`,
    [id],
  )
  t.match(await swept.stock(id), { state: 'available' })
  await until('the pause', async () => (await swept.stock(id)).state === 'paused')
  const loaded = () =>
    swept.sql('select 1 from products where id = $1 and loaded_version = terms_version', [id])
  await until('the note of it', async () => (await loaded()).length === 1)
  const [row] = await swept.sql<{ id: number }>(
    `insert into products (name, unit_amount, currency, total, shard, loaded_version) values ('Sock', 1, 'USD', 7, 0, 0)
      returning id`,
  )
  const path = `/api/products/${row?.id}`
  const early = await swept.call('GET', path)
  t.match(early, { status: 404 }, 'until then a new product is not there, and nothing is rebuilt for it')
  await until('the product', async () => (await swept.call('GET', path)).status === 200)
  t.match(await swept.stock(row?.id ?? 0), { total: 7, available: 7 })
  t.equal(swept.log.filter((line) => line.includes('rebuilding')).length, 1, 'but at the start')
})

t.test('a product of which PostgreSQL has lost that Redis has it is not denied', async (t) => {
  const swept = await build(t, { sweeper: true })
  const { id } = (await swept.expect(201, swept.call('POST', '/api/products', shoe))) as Term
  const add = () =>
    swept.call('POST', `/api/products/${id}/stock`, { delta: 1 }, { headers: { 'idempotency-key': 'k1' } })
  const rename = () => swept.call('PATCH', `/api/products/${id}`, { name: 'Boot' })
  await swept.sql('update products set loaded_version = 0, terms_changed_at = now() where id = $1', [id])
  const early = [await rename(), await add()]
  t.match(early, [{ status: 503 }, { status: 503 }])
  t.ok(early.every(({ headers }) => Number(headers['retry-after']) > 0))
  await until('the note of it', async () => (await rename()).status === 200)
  t.match(await add(), { status: 200 })
  t.match(await swept.readProduct(id), { name: 'Boot', stock: { total: shoe.total_stock + 1 } })
  await swept.agree(t, 'afterwards')
})

t.test('changed terms survive the loss of Redis', async (t) => {
  const lost = await build(t)
  const { id } = (await lost.expect(201, lost.call('POST', '/api/products', shoe))) as Term
  await lost.expect(200, change(id, { name: 'Boot', max_per_hold: 2 }, lost))
  await lost.redis.unlink(...(await lost.keys()))
  await lost.call('GET', `/api/products/${id}`)
  await until('the rebuild', async () => (await lost.call('GET', `/api/products/${id}`)).status === 200)
  t.match(await lost.readProduct(id), { name: 'Boot', max_per_hold: 2 })
})

t.test('a product that Redis has lost is not made anew by a change of its terms', async (t) => {
  const lost = await build(t)
  const { id } = (await lost.expect(201, lost.call('POST', '/api/products', shoe))) as Term
  await lost.order(await lost.hold(id, 3))
  await lost.hold(id, 4)
  await lost.redis.unlink(lost.engine.keys.shard(0, 'products'))
  t.match(await change(id, { name: 'Boot' }, lost), {
    status: 200,
    body: { data: { name: 'Boot', stock: { total: 20, available: 13, held: 4, pending: 3 } } },
  })
  await lost.agree(t, 'afterwards')
})

t.test(
  'a limit by customer that is set in the middle of a sale counts what everybody has by then',
  async (t) => {
    const sale = await build(t, { sweeper: true })
    const { id } = (await sale.expect(201, sale.call('POST', '/api/products', shoe))) as Term
    const [ada, bob] = [{ customer_id: 'ada' }, { customer_id: 'bob' }]
    const order = await sale.order(await sale.hold(id, 2, ada))
    await sale.paid((await sale.order(await sale.hold(id, 1, ada))).order_id, 'success')
    const held = await sale.hold(id, 1, ada)
    const cancelled = await sale.order(await sale.hold(id, 3, bob))
    await sale.call('DELETE', `/api/orders/${cancelled.order_id}`)
    t.match(await change(id, { max_per_customer: 4 }, sale), {
      status: 200,
      body: { data: { max_per_customer: 4, stock: { held: 1, pending: 2, sold: 1 } } },
    })
    const refused = { status: 409, body: { code: 'limit_exceeded', limit: 4 } }
    t.match(await place(id, 1, ada, sale), refused, 'two pending, one sold, one held')
    t.match(await place(id, 5, bob, sale), refused)
    t.match(await place(id, 4, bob, sale), { status: 201 }, 'what was cancelled counts no more')
    await sale.call('DELETE', `/api/holds/${held.hold_id}`)
    t.match(await place(id, 1, ada, sale), { status: 201 })
    await sale.paid(order.order_id, 'failed')
    t.match(await place(id, 2, ada, sale), { status: 201 })
    t.match(await place(id, 1, ada, sale), refused)
    const rebuilds = sale.log.filter((line) => line.includes('rebuilding')).length
    t.match(await change(id, { max_per_customer: 5 }, sale), { status: 200 })
    t.match(await place(id, 1, ada, sale), { status: 201 }, 'another limit needs no count')
    t.equal(sale.log.filter((line) => line.includes('rebuilding')).length, rebuilds)
    await sale.agree(t, 'afterwards')
  },
)

t.test('buyers who come while the limit is set never have more than it in the end', async (t) => {
  const sale = await build(t, { sweeper: true })
  const other = await build(t, { beside: sale })
  const { id } = (await sale.expect(
    201,
    sale.call('POST', '/api/products', { ...shoe, total_stock: 500 }),
  )) as Term
  const buy = (at: number) =>
    place(id, 1, { customer_id: `c${at % 5}` }, at % 2 === 0 ? sale : other).then(({ status }) => status)
  await times(10, buy)
  const rush = times(100, buy)
  const limited = await until('the limit', async () => {
    const reply = await change(id, { max_per_customer: 30 }, sale)
    return reply.status === 200 && reply
  })
  t.match(limited.body, { data: { max_per_customer: 30 } })
  await rush
  await until('both', async () => (await buy(0)) !== 503 && (await buy(1)) !== 503)
  await times(200, buy)
  const counted = new Map<string, number>()
  for (const member of await sale.redis.zrange(sale.engine.keys.shard(0, 'holds'), '0', '-1')) {
    const customer = member.split('|')[4] ?? ''
    counted.set(customer, (counted.get(customer) ?? 0) + 1)
  }
  t.same([...counted.values()], [30, 30, 30, 30, 30], 'nobody has more, and nobody is refused too early')
  await sale.agree(t, 'afterwards')
})

t.test('a product that is not there can not be changed', async (t) => {
  const missing = { status: 404, body: { code: 'product_not_found' } }
  t.match(await change(999_999, { paused: true }), missing)
  const headers = { 'idempotency-key': newKey() }
  t.match(await app.call('POST', '/api/products/999999/stock', { delta: 1 }, { headers }), missing)
})
