import t from 'tap'
import { notice, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

t.test('an order is not read with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.order(1)
  await refusedByFence(t, f, (engine) => engine.readOrder(id))
})

t.test('an order that Redis does not know is left to PostgreSQL', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  t.equal(await unchanged(t, f, () => f.engine.readOrder(id)), undefined)
})

t.test('an order reads as its last transition left it', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const order = await f.order(2, { customer_id: 'Zoë|1' })
  t.same(await unchanged(t, f, () => f.engine.readOrder(order.id)), order)
  const paid = await f.engine.applyPayment(notice(order.id, 'p1', 'success'), false)
  t.match(paid, { status: 'applied', order: { version: 2, payment_status: 'paid', customer_id: 'Zoë|1' } })
  t.same(await f.engine.readOrder(order.id), 'order' in paid && paid.order)
})
