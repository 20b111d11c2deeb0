import t from 'tap'
import { boughtBefore } from '../../src/db/products.ts'
import { type App, build, newKey } from '../fixtures/app.ts'
import type { OrderBody } from '../fixtures/resources.ts'
import { until } from '../fixtures/until.ts'
import { isWhole, openMover } from './fixtures/mover.ts'
import { openPredecessor } from './fixtures/predecessor.ts'

/*
  What is over stays where it is over a rebuild: in PostgreSQL, and in Redis, where it does not count. It has to be found there
  when somebody comes back to it.
*/

const LIMIT = 3
/** Nothing ends by itself while a test counts steps. */
const env = { HOLD_TTL_SECONDS: '3600', ORDER_TTL_SECONDS: '3600' }

/** Lets every shard be rebuilt, by a Redis that has lost its epoch or, where keys are named, these as well. */
async function rebuild(app: App, lost = '*:epoch'): Promise<void> {
  await app.redis.unlink(...(await app.keys(lost)))
  await isWhole(app)
}

const create = (app: App, hold_id: string, key: string) =>
  app.call('POST', '/api/orders', { hold_id }, { headers: { 'idempotency-key': key } })
const place = (app: App, product_id: number, qty: number, customer_id = 'ada') =>
  app.call('POST', '/api/holds', { product_id, qty, customer_id })
const REFUSED = { status: 409, body: { code: 'limit_exceeded', limit: LIMIT } }

t.test(
  'a key that made an order before a rebuild is answered as before, and is taken for any other',
  async (t) => {
    const app = await build(t)
    const id = await app.product(10)
    const [hold, other] = [await app.hold(id), await app.hold(id)]
    const key = newKey()
    const first = await create(app, hold.hold_id, key)
    await app.paid(hold.order_id, 'success')
    await rebuild(app)
    const again = await create(app, hold.hold_id, key)
    t.match(again, { status: 201, text: first.text, headers: { 'idempotency-replayed': 'true' } })
    const reused = { status: 422, body: { code: 'idempotency_key_reused' } }
    t.match(await create(app, other.hold_id, key), reused)
    t.match(await app.call('GET', `/api/holds/${other.hold_id}`), { body: { data: { status: 'active' } } })
    await app.agree(t, 'in the end')
  },
)

t.test('a key whose order PostgreSQL does not have makes another one', async (t) => {
  const app = await build(t)
  const id = await app.product(10)
  const [undone, hold] = [await app.hold(id), await app.hold(id)]
  const [key, other_key] = [newKey(), newKey()]
  t.match(await create(app, undone.hold_id, key), { status: 201 })
  await until('the journal is empty', async () => (await app.journal()) === 0)
  await app.sql('delete from order_items; delete from orders; update products set committed = 0')
  await rebuild(app)
  t.match(await create(app, undone.hold_id, key), { status: 404 }, 'neither the order nor its hold is there')
  t.match(await create(app, hold.hold_id, key), {
    status: 201,
    headers: { 'idempotency-replayed': undefined },
  })
  t.match(await create(app, (await app.hold(id)).hold_id, other_key), { status: 201 })
  t.match(await create(app, (await app.hold(id)).hold_id, key), { status: 422 })
  await app.agree(t, 'in the end')
})

t.test(
  'what a customer bought counts over every rebuild, and what is paid meanwhile counts once',
  async (t) => {
    const app = await build(t)
    const id = await app.product(100, { max_per_customer: LIMIT })
    const order = async (customer_id = 'ada') => app.order(await app.hold(id, 1, { customer_id }))
    const [paid, unpaid, failed] = [await order(), await order(), await order()]
    await app.paid(paid.order_id, 'success')
    await app.paid(failed.order_id, 'failed')
    await rebuild(app, '*')

    t.match(await place(app, id, 2), REFUSED, 'one is paid, one may be')
    await app.paid(unpaid.order_id, 'success')
    t.match(await place(app, id, 2), REFUSED, 'it was counted before it was paid')
    const { hold_id } = await app.hold(id, 1, { customer_id: 'ada' })
    t.match(await place(app, id, 1), REFUSED)
    t.equal((await app.call('DELETE', `/api/holds/${hold_id}`)).status, 204)
    t.match(await app.paid(failed.order_id, 'success'), { outcome: 'applied' })
    t.match(await place(app, id, 1), REFUSED, 'a late payment takes units again')
    t.match(await place(app, id, LIMIT, 'bob'), { status: 201 })

    const epoch = app.engine.fence.epoch(0)
    const bought = (by: number) =>
      app.service.db.use((sql) => boughtBefore(sql, [{ product_id: id, customer_id: 'ada' }], by))
    t.same(await bought(epoch), [1], 'PostgreSQL tells what was paid before the rebuild')
    t.same(await bought(epoch + 1), [3], 'control: without a look at the epoch two would count twice')
    await rebuild(app)
    t.match(await place(app, id, 1), REFUSED, 'nor is anything forgotten by the next rebuild')
    t.match(await place(app, id, 1, 'bob'), REFUSED)
    await app.agree(t, 'in the end')
  },
)

t.test('what a customer bought counts in the shard to which the product moves', async (t) => {
  const shards = { env: { STOCK_SHARDS: '2' } }
  const app = await build(t, shards)
  const id = await app.product(100, { max_per_customer: LIMIT })
  // The shard that it leaves has had more rebuilds than the other one.
  for (let times = 0; times < 3; times += 1) {
    await app.redis.unlink(app.engine.keys.shard(0, 'epoch'))
    await isWhole(app)
  }
  const order = await app.order(await app.hold(id, 2, { customer_id: 'ada' }))
  await app.paid(order.order_id, 'success')
  const { move } = openMover(t, app)
  for (const to of [1, 0]) {
    await move([id], to)
    await isWhole(app)
    t.match(await place(app, id, 2), REFUSED, `in shard ${to}`)
    t.ok(app.engine.fence.epoch(to) >= app.engine.fence.epoch(1 - to))
  }
  t.match(await place(app, id, 1), { status: 201 })
  await app.agree(t, 'in the end')
})

t.test('while PostgreSQL does not say what a customer bought, he is asked to come again', async (t) => {
  const app = await build(t)
  const id = await app.product(100, { max_per_customer: LIMIT })
  await app.paid((await app.order(await app.hold(id, 1, { customer_id: 'ada' }))).order_id, 'success')
  await rebuild(app)
  await app.hold(id, 1, { customer_id: 'bob' })
  await app.sql('alter table order_items rename to away')
  t.match(await place(app, id, 1), { status: 503, headers: { 'retry-after': /^\d+$/ } })
  t.match(await place(app, id, 1, 'bob'), { status: 201 }, 'who was told of needs nobody')
  await app.sql('alter table away rename to order_items')
  t.match(await place(app, id, 2), { status: 201 })
  t.match(await place(app, id, 1), REFUSED)
})

t.test('a rebuild takes the same steps whatever is over, in Redis and in PostgreSQL', async (t) => {
  const app = await build(t, { env })
  const id = await app.product(10_000)
  await app.order(await app.hold(id))
  await app.paid((await app.hold(id)).order_id, 'success')
  const { keys } = app.engine
  const predecessor = await openPredecessor(t, app)
  const stepsOf = async () => {
    const before = await app.readProduct(id)
    const { steps } = await predecessor.rebuildUntil(() => false)
    await isWhole(app)
    t.same(await app.readProduct(id), before)
    // The first one to ask brings the scripts.
    return steps.filter((step) => !step.startsWith('eval'))
  }
  await stepsOf()
  const few = await stepsOf()

  const orders: OrderBody[] = []
  for (let count = 0; count < 600; count += 1) orders.push(await app.order(await app.hold(id)))
  await Promise.all(orders.map(({ order_id }) => app.paid(order_id, 'success')))
  const dead = app.redis.pipeline()
  for (let count = 0; count < 10_000; count += 1) {
    for (const scope of ['holds', 'orders', `stock:${id}`]) {
      dead.set(keys.idem(0, scope, `dead ${count}`), '1|1|1-1', 'PX', 600_000)
    }
  }
  await dead.exec()
  t.same(await stepsOf(), few)
})
