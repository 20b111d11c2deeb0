import t from 'tap'
import { MAX_DUE_ORDERS } from '../../src/engine/sweeping.ts'
import { type Change, clockAt } from '../fixtures/change.ts'
import { type Fixture, notice, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

t.test('a sweep of orders is refused with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.order(1, { order_ttl_ms: 1 })
  await refusedByFence(t, f, (engine) => engine.expireOrders(0))
})

t.test('an order that is unpaid at pay_by is cancelled, its units are free again', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10, { max_per_customer: 3 })
  await f.load(2, 10)
  const order = await f.order(
    [
      [1, 3],
      [2, 1],
    ],
    { customer_id: 'ada', order_ttl_ms: 1 },
  )
  const [entry, ...others] = await f.engine.expireOrders(0)
  t.same(others, [])
  t.match(entry, {
    order: {
      ...order,
      version: 2,
      payment_status: 'failed',
      order_status: 'cancelled',
      cancel_reason: 'payment_timeout',
    },
    payments: [],
  })
  t.same(await f.engine.journal.readEntry(0, entry?.entry_id ?? ''), entry)
  t.match(await f.stock(1), { available: 10, pending: 0 })
  t.match(await f.stock(2), { available: 10, pending: 0 })
  await f.equation('after the sweep')
  t.same(await unchanged(t, f, () => f.engine.expireOrders(0)), [])
  await f.hold(3, { customer_id: 'ada' })
})

t.test('an order is due at pay_by and not a millisecond before', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const order = await f.order(1)
  const early = f.open({ change: clockAt(order.pay_by_ms - 1) })
  t.same(await unchanged(t, f, () => early.expireOrders(0)), [])
  t.equal((await f.open({ change: clockAt(order.pay_by_ms) }).expireOrders(0)).length, 1)
  await f.equation('after the sweep')
})

t.test(
  'orders that are paid, failed or cancelled are left alone, and so is one named twice or unknown',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const own = { order_ttl_ms: 1 }
    const paid = await f.order(1, own)
    await f.engine.applyPayment(notice(paid.id, 'p1', 'success'), false)
    const failed = await f.order(1, own)
    await f.engine.applyPayment(notice(failed.id, 'p2', 'failed'), false)
    const cancelled = await f.order(1, own)
    await f.engine.cancelOrder(cancelled.id)
    const { id } = await f.hold(1)
    const sweep = (ids: string[]) =>
      f.run('expire-orders', 0, {
        args: {},
        keys: ids.map((it) => f.keys.id(0, 'order', it)),
        rest: ids.map((it) => `${it}|1`),
      })
    const ids = [paid.id, failed.id, cancelled.id, id]
    const left = [['left'], ['left'], ['left'], ['lost']]
    t.same(await unchanged(t, f, () => sweep(ids)), ['done', ...left], 'the hold is no order')
    const due = await f.order(1, own)
    const [, ...replies] = await sweep([...ids, due.id, due.id, due.id])
    t.same(
      replies.map(([word]) => word),
      [...left.flat(), 'expired', 'left', 'left'],
    )
    await f.equation('at the end')
  },
)

t.test('a sweep looks at a bounded number of orders, those first that are due first', async (t) => {
  const f = await openFixture(t)
  await f.load(1, MAX_DUE_ORDERS * 2 + 10)
  await f.order(5)
  const late = await Promise.all(
    Array.from({ length: MAX_DUE_ORDERS + 7 }, () => f.order(1, { order_ttl_ms: 1 })),
  )
  t.equal(late.length, MAX_DUE_ORDERS + 7)
  t.equal((await f.engine.expireOrders(0)).length, MAX_DUE_ORDERS)
  await f.equation('after the first step')
  t.equal((await f.engine.expireOrders(0)).length, 7)
  t.match(await f.stock(), { pending: 5 })
  await f.equation('at the end')
})

t.test('an order that can not be read holds up no other, and counts as lost', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const own = { order_ttl_ms: 1 }
  const [nonsense, other_type, gone, good] = [
    await f.order(1, own),
    await f.order(1, own),
    await f.order(1, own),
    await f.order(1, own),
  ]
  const keyOf = ({ id }: { id: string }) => f.keys.id(0, 'order', id)
  await f.redis.hset(keyOf(nonsense), 'order', 'nonsense')
  await f.redis.set(keyOf(other_type), 'text')
  await f.redis.del(keyOf(gone))
  t.match(await f.engine.expireOrders(0), [{ order: { id: good.id } }])
  t.same(f.closed, ['0: Redis has lost 3 unpaid orders'])
})

t.test('a deadline of an order that is not unpaid any more is dropped', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const order = await f.order(1)
  await f.engine.cancelOrder(order.id)
  await f.redis.zadd(f.keys.shard(0, 'deadlines'), 1, `${order.id}|9`)
  t.same(await f.engine.expireOrders(0), [])
  t.equal(await f.redis.zcard(f.keys.shard(0, 'deadlines')), 0)
})

t.test('a payment after pay_by that comes before the sweep is in time', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const order = await f.order(1, { order_ttl_ms: 1 })
  t.match(await f.engine.applyPayment(notice(order.id, 'p1', 'success'), false), { status: 'applied' })
  t.same(await f.engine.expireOrders(0), [])
  await f.equation('at the end')
})

/** Three sweepers that have read the same list of due orders, and act on it now. */
const sweeping = async (f: Fixture, change?: Change) => {
  await f.load(1, 1000)
  await f.order(500)
  const late = await Promise.all(Array.from({ length: 40 }, () => f.order(1, { order_ttl_ms: 1 })))
  const ids = late.map(({ id }) => id)
  const rest = ids.map((id) => `${id}|1`)
  const keys = ids.map((id) => f.keys.id(0, 'order', id))
  const runs = Array.from({ length: 3 }, () =>
    f.openRun({ own_connection: true, ...(change ? { change } : {}) }),
  )
  const swept = await Promise.all(runs.map((run) => run('expire-orders', 0, { args: {}, keys, rest })))
  const expired = swept.flatMap(([, ...replies]) => replies.filter(([word]) => word === 'expired'))
  return { late: late.length, swept: expired.length }
}

t.test('of three sweepers at once, each order is cancelled by one', async (t) => {
  const f = await openFixture(t)
  const { late, swept } = await sweeping(f)
  t.equal(swept, late)
  t.match(await f.stock(), { available: 500, pending: 500 })
  await f.equation('after the sweeps')
})

t.test('control: sweepers that do not look whether the order is pending give units back twice', async (t) => {
  const f = await openFixture(t)
  const { late, swept } = await sweeping(f, [
    ['not seen[order_key] and is_pending(order)', 'not seen[order_key]'],
  ])
  t.ok(swept > late, `${late} orders were due, ${swept} were cancelled`)
  const pending = (await f.stock())?.pending ?? 500
  t.ok(pending < 500, `orders for 500 units are pending, ${pending} are counted`)
})
