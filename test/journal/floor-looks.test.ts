import t, { type Test } from 'tap'
import type { Engine } from '../../src/engine/engine.ts'
import type { Entry, Order } from '../../src/engine/records.ts'
import { type App, build, newKey } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { writerOn } from './fixtures/writer-on.ts'

/*
  Units are free in Redis before PostgreSQL has what freed them. These tests leave what freed them in the journal, as a
  process does that dies, or waits, between its step and its commit.
*/

type Ids = { hold_id: string; order_id: string }
const idOf = ({ hold_id }: Ids) => hold_id.slice('hld_'.length)

/** A cancellation that PostgreSQL has not heard of. */
async function cancelUnheard(app: App, ids: Ids): Promise<void> {
  t.equal((await app.engine.cancelOrder(idOf(ids))).status, 'cancelled')
}

/** One unit that was ordered and cancelled, and is held again. */
async function freed(app: App): Promise<{ product: number; hold: Ids }> {
  const product = await app.product(1)
  const first = await app.hold(product)
  await app.order(first)
  await cancelUnheard(app, first)
  return { product, hold: await app.hold(product) }
}

const rowOf = async (app: App, { order_id }: Ids) =>
  (await app.sql<Pick<Order, 'order_status'>>('select order_status from orders where id = $1', [order_id]))[0]

/** The entry of an order that is made, and committed by nobody. */
async function entryOf(app: App, hold: Ids): Promise<Entry> {
  const made = await app.engine.createOrder(idOf(hold), null)
  if (made.status !== 'created') throw new Error(made.status)
  return made.entry
}

t.test('a unit whose cancellation is not committed yet can be ordered', async (t) => {
  const app = await build(t)
  const { product, hold } = await freed(app)
  t.match(await app.order(hold), { order_status: 'pre-payment' })
  t.match(await app.stock(product), { available: 0, pending: 1 })
  t.same(
    app.log.filter((line) => line.includes('refused')),
    [],
    'no alarm rings',
  )
  await app.agree(t, 'afterwards')
})

t.test('and is not due for refund where it was paid for before it was ordered', async (t) => {
  const app = await build(t)
  const { hold } = await freed(app)
  const key = newKey()
  t.match(await app.paid(hold.order_id, 'success', {}, key), { outcome: 'parked' })
  t.match(await app.order(hold), { payment_status: 'paid' })
  t.match(await app.sql('select outcome from payments where idempotency_key = $1', [key]), [
    { outcome: 'applied' },
  ])
  await app.agree(t, 'afterwards')
})

t.test('so can units that were added, and whose addition is not committed yet', async (t) => {
  const app = await build(t)
  const product = await app.product(1)
  await app.order(await app.hold(product))
  t.equal((await app.engine.adjustStock(product, 2, newKey(), null)).status, 'adjusted')
  await app.order(await app.hold(product, 2))
  await app.agree(t, 'afterwards')
})

t.test(
  'units of an order that is cancelled can be taken out before PostgreSQL has heard of it',
  async (t) => {
    const app = await build(t)
    const product = await app.product(1)
    const first = await app.hold(product)
    await app.order(first)
    await cancelUnheard(app, first)
    const reply = await app.call(
      'POST',
      `/api/products/${product}/stock`,
      { delta: -1 },
      { headers: ['idempotency-key', newKey()] },
    )
    t.match(reply, { status: 200, body: { data: { stock: { total: 0, available: 0 } } } })
    await app.agree(t, 'afterwards')
  },
)

t.test('a late success that takes freed units again is applied', async (t) => {
  const app = await build(t)
  const product = await app.product(1)
  const [failed, other] = [await app.hold(product), undefined as Ids | undefined]
  await app.order(failed)
  await app.paid(failed.order_id, 'failed')
  const second = other ?? (await app.hold(product))
  await app.order(second)
  await cancelUnheard(app, second)
  t.match(await app.paid(failed.order_id, 'success'), { outcome: 'applied' })
  t.match(await rowOf(app, failed), { order_status: 'confirmed' })
  await app.agree(t, 'afterwards')
})

t.test('many orders for units that are given back by another process are all made', async (t) => {
  const app = await build(t)
  const beside = await build(t, { beside: app })
  const product = await app.product(5)
  beside.engine.knowProduct(product, 0, null)
  let count = 0
  const buy = async (on: App) => {
    for (let round = 0; round < 12; round += 1) {
      const reply = await on.call('POST', '/api/holds', { product_id: product, qty: 1 })
      if (reply.status !== 201) continue
      const { data } = reply.body as { data: Ids }
      t.equal((await on.call('POST', '/api/orders', { hold_id: data.hold_id })).status, 201)
      count += 1
      // Half of them leave their cancellation to whoever finishes the journal.
      if (round % 2 === 0) await cancelUnheard(on, data)
      else await on.call('DELETE', `/api/orders/${data.order_id}`)
    }
  }
  await Promise.all([app, beside, app, beside, app, beside].map(buy))
  t.ok(count > 20, `${count} orders`)
  for (const entry of await app.engine.journal.entries(0, 500)) await app.service.writer.commit(entry)
  await app.agree(t, 'afterwards')
})

t.test('while the journal goes on nothing is refused: the rebuild looks again', async (t) => {
  const app = await build(t)
  const { hold } = await freed(app)
  let last = 0
  const { writer } = writerOn(app, {
    async lastId() {
      last += 1
      return `${last}-0`
    },
    async *pages() {},
  })
  const entry = await entryOf(app, hold)
  await t.rejects(writer.commit(entry), { code: 'recovering' })
  await until('the rebuild', () => app.engine.fence.isOpen(0))
  t.match(await rowOf(app, hold), { order_status: 'pre-payment' }, 'it found what made room for the order')
  await app.agree(t, 'afterwards')
})

/** Redis loses the journal of a shard before PostgreSQL has heard of what it says, an order for a freed unit among it. */
async function forgotten(t: Test) {
  const app = await build(t)
  const { hold } = await freed(app)
  const entry = await entryOf(app, hold)
  await app.redis.del(app.engine.keys.shard(0, 'journal'))
  return { app, entry }
}

t.test('where Redis has lost what made room for an order it is not refused', async (t) => {
  const { app, entry } = await forgotten(t)
  const { writer } = writerOn(app, {})
  await t.rejects(writer.commit(entry), { code: 'recovering' })
  await until('the rebuild', () => app.engine.fence.isOpen(0))
  await app.agree(t, 'afterwards')
})

t.test('control: where nobody looks whether Redis still has it, it is', async (t) => {
  const { app, entry } = await forgotten(t)
  const { writer, alarms } = writerOn(app, { readEntry: async () => entry })
  t.equal(await writer.commit(entry), 'refused')
  t.match(alarms, [/oversold/])
})

t.test('an order that is really too many is refused all the same', async (t) => {
  const app = await build(t)
  const product = await app.product(1)
  await app.order(await app.hold(product))
  // Redis has lost that the unit is sold.
  await app.redis.hset(
    app.engine.keys.shard(0, 'products'),
    `${product}:available`,
    1,
    `${product}:pending`,
    0,
  )
  const hold = await app.hold(product)
  t.match(await app.call('POST', '/api/orders', { hold_id: hold.hold_id }), {
    status: 409,
    body: { code: 'insufficient_stock' },
  })
  await until('the rebuild', () => app.engine.fence.isOpen(0))
  await app.agree(t, 'afterwards')
})

async function control(t: Test, journal: Partial<Engine['journal']>): Promise<void> {
  const app = await build(t)
  const { hold } = await freed(app)
  const { writer, alarms } = writerOn(app, journal)
  t.equal(await writer.commit(await entryOf(app, hold)), 'refused')
  t.match(alarms, [/oversold/])
  t.equal(await rowOf(app, hold), undefined)
}

t.test('control: without the second look a right order is refused', (t) => control(t, { async *pages() {} }))
