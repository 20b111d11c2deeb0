import t, { type Test } from 'tap'
import { type App, build, newKey } from '../fixtures/app.ts'
import { isCluster } from '../fixtures/connect.ts'
import { openRedisServer } from '../fixtures/redis-server.ts'
import { times, until } from '../fixtures/until.ts'

/** Where a service has a Redis of its own, as long as everybody has otherwise. */
const PATIENCE_MS = 10_000

// They wait more than they work.
t.jobs = 3

/** A sale in the middle: of 100 units 3 are sold, 2 wait for payment, 5 are held; money is parked for one of the holds. */
async function midSale(app: App) {
  const id = await app.product(100)
  const sold = await app.order(await app.hold(id, 3))
  const [sold_key, parked_key] = [newKey(), newKey()]
  await app.paid(sold.order_id, 'success', {}, sold_key)
  const unpaid = await app.order(await app.hold(id, 2))
  const paid_hold = await app.hold(id, 1)
  await app.paid(paid_hold.order_id, 'success', {}, parked_key)
  const hold = await app.hold(id, 4)
  return { id, sold, unpaid, paid_hold, hold, sold_key, parked_key }
}

const place = (app: App, product_id: number) => app.call('POST', '/api/holds', { product_id, qty: 1 })
const isOpen = (app: App) =>
  until('an open fence', async () => (await app.call('GET', '/readyz')).status === 200)
const rebuilds = (...apps: App[]) =>
  apps.flatMap(({ log }) => log).filter((line) => line.includes('rebuilding')).length

/** Loses keys as a FLUSHALL would, of this service alone. */
async function lose(app: App, pattern = '*'): Promise<void> {
  await app.redis.unlink(...(await app.keys(pattern)))
}

/** Asserts that all that was sold or ordered is as it was, and goes on as it would have. */
async function isIntact(t: Test, app: App, sale: Awaited<ReturnType<typeof midSale>>): Promise<void> {
  t.match(await app.readOrder(sale.sold.order_id), { payment_status: 'paid' })
  t.match(await app.readOrder(sale.unpaid.order_id), sale.unpaid)
  t.match(await app.paid(sale.sold.order_id, 'success', {}, sale.sold_key), {
    outcome: 'duplicate',
    first_outcome: 'applied',
  })
  t.match(await app.paid(sale.paid_hold.order_id, 'success', {}, sale.parked_key), {
    outcome: 'duplicate',
    first_outcome: 'parked',
  })
  t.match(await app.paid(sale.unpaid.order_id, 'success'), {
    outcome: 'applied',
    order: { payment_status: 'paid' },
  })
  await app.agree(t, 'after the loss')
}

t.test(
  'when Redis has lost everything, nothing that was sold or ordered is lost, and the sale goes on by itself',
  async (t) => {
    const app = await build(t)
    const sale = await midSale(app)
    await app.agree(t, 'before')
    await lose(app)
    t.match(await place(app, sale.id), {
      status: 503,
      body: { code: 'recovering' },
      headers: { 'retry-after': /^\d+$/ },
    })
    await isOpen(app)
    t.match(
      await app.stock(sale.id),
      { total: 100, available: 95, held: 0, pending: 2, sold: 3 },
      'holds are gone',
    )
    for (const { hold_id } of [sale.hold, sale.paid_hold]) {
      const { status } = await app.call('GET', `/api/holds/${hold_id}`)
      t.ok([404, 410].includes(status), `a hold answers ${status}`)
    }
    t.match(await place(app, sale.id), { status: 201 })
    t.equal(rebuilds(app), 2, 'once at the start and once now')
    await isIntact(t, app, sale)
  },
)

t.test('a read notices the loss as well', async (t) => {
  const app = await build(t)
  const sale = await midSale(app)
  await lose(app)
  t.match(await app.call('GET', `/api/products/${sale.id}`), { status: 503, body: { code: 'recovering' } })
  await isOpen(app)
  await lose(app)
  const listed = await app.call('GET', '/api/products')
  t.equal(listed.status, 503, 'a list that lacks what is lost would say that it is not there')
  await isOpen(app)
  t.match(await app.stock(sale.id), { pending: 2, sold: 3 })
})

t.test('so does a product that is missing while the rest is there', async (t) => {
  const app = await build(t)
  const sale = await midSale(app)
  await lose(app, '*:products')
  const { status } = await place(app, sale.id)
  t.equal(status, 503, 'it is neither unknown nor sold out')
  await isOpen(app)
  t.match(await app.stock(sale.id), { available: 90, held: 5, pending: 2, sold: 3 }, 'holds have survived')
  t.match(await app.order(sale.hold), { order_status: 'pre-payment' })
  t.match(await app.order(sale.paid_hold), { payment_status: 'paid' })
  await isIntact(t, app, sale)
})

t.test('and the fence itself, when it is missing', async (t) => {
  const app = await build(t)
  const sale = await midSale(app)
  await lose(app, '*:epoch')
  t.equal((await place(app, sale.id)).status, 503)
  await isOpen(app)
  t.match(await app.stock(sale.id), { available: 90, held: 5, pending: 2, sold: 3 })
  t.match(await app.order(sale.hold), { order_status: 'pre-payment' })
  await isIntact(t, app, sale)
})

t.test('an order that nobody has committed yet is committed before the counters are rebuilt', async (t) => {
  const app = await build(t)
  const id = await app.product(10)
  const hold = await app.hold(id, 4)
  const created = await app.engine.createOrder(hold.hold_id.slice(4), null)
  t.equal(created.status, 'created')
  await lose(app, '*:epoch')
  await place(app, id)
  await isOpen(app)
  t.match(await app.stock(id), { available: 6, held: 0, pending: 4 })
  await app.agree(t, 'afterwards')
})

t.test('two processes that meet the loss together rebuild it once', async (t) => {
  const app = await build(t, { sweeper: true })
  const beside = await build(t, { beside: app, sweeper: true })
  const sale = await midSale(app)
  await app.agree(t, 'before')
  const before = rebuilds(app, beside)
  await lose(app)
  await times(40, (at) => place(at % 2 === 0 ? app : beside, sale.id))
  await Promise.all([isOpen(app), isOpen(beside)])
  t.equal(rebuilds(app, beside) - before, 1)
  const replies = await times(20, (at) => place(at % 2 === 0 ? app : beside, sale.id))
  t.same(new Set(replies.map(({ status }) => status)), new Set([201]), 'both go on')
  await isIntact(t, app, sale)
})

const skip = isCluster() && 'there every process asks for the epoch once a second'
t.test(
  'a process that still believes in the old state is refused, and changes nothing',
  { skip },
  async (t) => {
    const app = await build(t)
    const beside = await build(t, { beside: app })
    const sale = await midSale(app)
    const believed = beside.engine.fence.epoch(0)
    await lose(app)
    await place(app, sale.id)
    await isOpen(app)
    await isOpen(beside)
    const before = await app.stock(sale.id)
    // It looks once a second, and may have noticed on a busy machine.
    beside.engine.fence.open(0, believed)
    t.match(await place(beside, sale.id), { status: 503, body: { code: 'recovering' } })
    t.same(await app.stock(sale.id), before)
    await isOpen(beside)
    t.match(await place(beside, sale.id), { status: 201 })
    await isIntact(t, beside, sale)
  },
)

t.test('a loss in the middle of a rush sells no unit twice', async (t) => {
  const app = await build(t, { sweeper: true })
  const beside = await build(t, { beside: app, sweeper: true })
  const id = await app.product(60)
  const acknowledged: string[] = []
  const buy = async (at: number): Promise<void> => {
    const service = at % 2 === 0 ? app : beside
    const hold = await place(service, id)
    if (hold.status !== 201) return
    const { hold_id } = (hold.body as { data: { hold_id: string } }).data
    const order = await service.call('POST', '/api/orders', { hold_id })
    if (order.status !== 201) return
    const { order_id } = (order.body as { data: { order_id: string } }).data
    acknowledged.push(order_id)
    const payment = await service.pay(order_id, 'success')
    if (payment.status !== 200 && payment.status !== 503) throw new Error(payment.text)
  }
  const rush = times(150, buy)
  await lose(app)
  await rush
  await Promise.all([isOpen(app), isOpen(beside)])
  await times(150, buy)
  await app.agree(t, 'in the end')
  const rows = await app.sql<{ id: string }>(`select id from orders where order_status <> 'cancelled'`)
  t.ok(rows.length <= 60, `${rows.length} orders of 60 units`)
  const known = new Set(rows.map((row) => row.id))
  t.same(
    acknowledged.filter((order_id) => !known.has(order_id)),
    [],
    'every order that was acknowledged is there',
  )
})

t.test('a full Redis is rebuilt all the same', async (t) => {
  const server = await openRedisServer(t)
  const app = await build(t, { redis_at: server.url, patience_ms: PATIENCE_MS })
  const sale = await midSale(app)
  await app.redis.config('SET', 'maxmemory', '1')
  await lose(app, '*:epoch')
  t.match(await app.call('GET', `/api/products/${sale.id}`), { status: 503, body: { code: 'recovering' } })
  await isOpen(app)
  t.match(await place(app, sale.id), { status: 503, body: { code: 'unavailable' } }, 'control: it is full')
  t.match(await app.stock(sale.id), { available: 90, held: 5, pending: 2, sold: 3 })
  t.match(await app.order(sale.hold), { order_status: 'pre-payment' })
  await isIntact(t, app, sale)
})
