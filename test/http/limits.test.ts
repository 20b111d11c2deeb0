import t, { type Test } from 'tap'
import { type App, build } from '../fixtures/app.ts'
import type { HoldBody, OrderBody } from '../fixtures/resources.ts'
import { times, until } from '../fixtures/until.ts'

const LIMIT = 4
const ADA = { customer_id: 'ada' }
const place = (app: App, product_id: number, qty = 1) =>
  app.call('POST', '/api/holds', { product_id, qty, ...ADA })
const isOpen = (app: App) =>
  until('an open fence', async () => (await app.call('GET', '/readyz')).status === 200)

/** Asserts that the customer may have this many more units, and takes them. */
async function mayHave(t: Test, app: App, id: number, units: number, when: string): Promise<HoldBody[]> {
  t.match(await place(app, id, units + 1), { status: 409, body: { code: 'limit_exceeded' } }, when)
  const holds = await times(units, () => app.hold(id, 1, ADA))
  t.match(await place(app, id), { status: 409, body: { code: 'limit_exceeded', limit: LIMIT } }, when)
  return holds
}

t.test('50 requests of one customer at once get no more than the limit, over two processes', async (t) => {
  const app = await build(t)
  const beside = await build(t, { beside: app })
  const id = await app.product(100, { max_per_customer: LIMIT })
  const replies = await times(50, (at) => place(at % 2 === 0 ? app : beside, id))
  t.equal(replies.filter(({ status }) => status === 201).length, LIMIT)
  const refused = replies.filter(({ status }) => status !== 201)
  t.match(refused, Array(50 - LIMIT).fill({ status: 409, body: { code: 'limit_exceeded', limit: LIMIT } }))
  t.match(await app.stock(id), { held: LIMIT, available: 100 - LIMIT })
  await app.agree(t, 'afterwards')
})

t.test('what a customer gives back he may have again: each way once', async (t) => {
  const app = await build(t, { sweeper: true, env: { ORDER_TTL_SECONDS: '1', HOLD_TTL_SECONDS: '60' } })
  const id = await app.product(100, { max_per_customer: LIMIT })
  const holds = await mayHave(t, app, id, LIMIT, 'at first')
  const [released, failed, cancelled, late] = holds as [HoldBody, HoldBody, HoldBody, HoldBody]

  for (let again = 0; again < 2; again += 1) await app.call('DELETE', `/api/holds/${released.hold_id}`)
  const more = await mayHave(t, app, id, 1, 'after a release')
  const orders: OrderBody[] = []
  for (const hold of [failed, cancelled]) orders.push(await app.order(hold))
  const [first, second] = orders as [OrderBody, OrderBody]
  await app.call('DELETE', `/api/orders/${second.order_id}`)
  t.match(await app.call('DELETE', `/api/orders/${second.order_id}`), { status: 409 })
  await app.paid(first.order_id, 'failed')
  await app.paid(first.order_id, 'failed')
  const rest = await mayHave(t, app, id, 2, 'after a cancellation and a failed payment')
  const unpaid = await app.order(late)
  await until('its end', async () => (await app.readOrder(unpaid.order_id)).order_status === 'cancelled')
  await mayHave(t, app, id, 1, 'after an order that nobody paid')
  t.match(await app.stock(id), { held: more.length + rest.length + 1, pending: 0, sold: 0 })
  await app.agree(t, 'afterwards')
})

t.test('and what expires, with a sweeper or without', async (t) => {
  for (const sweeper of [true, false]) {
    const app = await build(t, { sweeper })
    const id = await app.product(100, { max_per_customer: LIMIT, hold_ttl_ms: 700 })
    for (const { hold_id } of await times(LIMIT, () => app.hold(id, 1, ADA))) {
      await until('its end', async () => (await app.call('GET', `/api/holds/${hold_id}`)).status === 410)
    }
    await app.engine.loadProduct(
      0,
      id,
      {
        ...{ name: 'Shoe', unit_amount: 9900, currency: 'USD', hold_ttl_ms: 60_000, paused: false },
        ...{ starts_at_ms: null, ends_at_ms: null, max_per_hold: null, max_per_customer: LIMIT },
      },
      { total: 100 },
    )
    await mayHave(t, app, id, LIMIT, sweeper ? 'with a sweeper' : 'without')
  }
})

t.test('after a rebuild a customer has what holds and orders say', async (t) => {
  const app = await build(t)
  const id = await app.product(100, { max_per_customer: LIMIT })
  const [held, pending, sold] = (await times(LIMIT, () => app.hold(id, 1, ADA))) as [
    HoldBody,
    HoldBody,
    HoldBody,
  ]
  await app.order(pending)
  await app.paid((await app.order(sold)).order_id, 'success')
  await app.redis.del(app.engine.keys.shard(0, 'epoch'), app.engine.keys.shard(0, 'buyers'))
  t.equal((await place(app, id)).status, 503)
  await isOpen(app)
  await mayHave(t, app, id, 0, 'with holds that survived')
  await app.call('DELETE', `/api/holds/${held.hold_id}`)
  await mayHave(t, app, id, 1, 'one was given back')
  await app.redis.unlink(...(await app.keys()))
  t.equal((await place(app, id)).status, 503)
  await isOpen(app)
  await mayHave(t, app, id, 2, 'with orders alone')
  await app.agree(t, 'afterwards')
})

t.test('control: a shard whose buyers were not counted again lets a customer have more', async (t) => {
  const app = await build(t)
  const id = await app.product(100, { max_per_customer: LIMIT })
  await times(LIMIT, () => app.hold(id, 1, ADA))
  await app.redis.del(app.engine.keys.shard(0, 'buyers'))
  t.equal((await place(app, id)).status, 201)
})

t.test('no hold has more units than one may have, whatever its lines', async (t) => {
  const app = await build(t)
  const id = await app.product(100, { max_per_hold: 3 })
  const line = { product_id: id, qty: 2 }
  const refused = { status: 409, body: { code: 'limit_exceeded', product_id: id, limit: 3 } }
  t.match(await app.call('POST', '/api/holds', { items: [line, line] }), refused)
  t.match(await app.call('POST', '/api/holds', { product_id: id, qty: 4 }), refused)
  const replies = await times(50, () => place(app, id, 3))
  t.match(
    replies.filter(({ status }) => status === 201),
    { length: 33 },
    'as many holds as there are units for',
  )
  await app.agree(t, 'afterwards')
})

t.test('a cart of ten lines is one hold and one order, and the floor counts each product', async (t) => {
  const app = await build(t)
  const ids = await times(10, () => app.product(3))
  const items = ids.map((product_id) => ({ product_id, qty: 2 }))
  const replies = await times(20, () => app.call('POST', '/api/holds', { items: items.toReversed() }))
  const granted = replies.filter(({ status }) => status === 201).map(({ body }) => body as { data: HoldBody })
  const [{ data: hold }] = granted as [{ data: HoldBody }]
  t.equal(granted.length, 1, 'two carts do not fit into three units')
  t.match(hold, { product_id: null, qty: null, items: { length: 10 }, amount: 10 * 2 * 9900 })
  const order = await app.order(hold)
  t.match(order, { items: { length: 10 }, amount: 198_000 })
  const committed = () => app.sql('select committed from products order by id')
  t.same(await committed(), Array(10).fill({ committed: 2 }))
  await app.paid(order.order_id, 'failed')
  t.same(await committed(), Array(10).fill({ committed: 0 }))
  for (const id of ids) t.match(await app.stock(id), { available: 3 })
  await app.agree(t, 'afterwards')
})
