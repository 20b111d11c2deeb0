import t from 'tap'
import type { Engine } from '../../src/engine/engine.ts'
import type { Change } from '../fixtures/change.ts'
import { count, type Fixture, notice, openFixture } from '../fixtures/redis.ts'

function openCrowd(f: Fixture, change?: Change): [Engine, Engine, Engine] {
  const open = () => f.open({ own_connection: true, ...(change ? { change } : {}) })
  return [open(), open(), open()]
}

const delivering = async (f: Fixture, change?: Change) => {
  await f.load(1, 10)
  const { id } = await f.order(1)
  const engines = openCrowd(f, change)
  return Promise.all(
    Array.from({ length: 60 }, (_, at) =>
      (engines[at % 3] ?? f.engine).applyPayment(notice(id, 'p1', 'success'), false),
    ),
  )
}

t.test('a payment that is delivered 60 times at once is applied once', async (t) => {
  const f = await openFixture(t)
  t.same(count(await delivering(f)), { applied: 1, duplicate: 59 })
  t.match(await f.outcomes(), { p1: { outcome: 'applied' } })
  await f.equation('after them')
})

t.test('control: payments that are not known again are refunded though they were applied', async (t) => {
  const f = await openFixture(t)
  const counts = count(await delivering(f, [['if seen then', 'if false then']]))
  t.same(counts, { applied: 1, refund_due: 59 })
})

const reusing = async (f: Fixture, change?: Change) => {
  await f.load(1, 100)
  const orders = await Promise.all(Array.from({ length: 30 }, () => f.order(1)))
  const engines = openCrowd(f, change)
  return Promise.all(
    orders.map(({ id }, at) =>
      (engines[at % 3] ?? f.engine).applyPayment(notice(id, 'p1', 'success'), false),
    ),
  )
}

t.test('one key for 30 orders at once pays for one of them', async (t) => {
  const f = await openFixture(t)
  t.same(count(await reusing(f)), { applied: 1, key_reused: 29 })
  t.match(await f.stock(), { sold: 1, pending: 29 })
  await f.equation('after them')
})

t.test('control: a key that is not bound to its order pays for all of them', async (t) => {
  const f = await openFixture(t)
  const counts = count(await reusing(f, [['if known_id and known_id ~= id then', 'if false then']]))
  t.same(counts, { applied: 30 })
})

/** Orders whose payment came too late, `units` of them free again, all paid at once. */
const comingLate = async (f: Fixture, orders: number, units: number, change?: Change) => {
  await f.load(1, orders)
  const late = await Promise.all(Array.from({ length: orders }, () => f.order(1, { order_ttl_ms: 1 })))
  for (let cancelled = 0; cancelled < orders; ) cancelled += (await f.engine.expireOrders(0)).length
  if (orders > units) await f.hold(orders - units)
  const engines = openCrowd(f, change)
  return Promise.all(
    late.map(({ id }, at) => (engines[at % 3] ?? f.engine).applyPayment(notice(id, id, 'success'), false)),
  )
}

t.test(
  'of two late payments for one free unit, one confirms its order and the other is due for refund',
  async (t) => {
    const f = await openFixture(t)
    t.same(count(await comingLate(f, 2, 1)), { applied: 1, refund_due: 1 })
    t.match(await f.stock(), { available: 0, held: 1, sold: 1 })
    await f.equation('after them')
  },
)

t.test('of 60 late payments for 7 free units, 7 are applied', async (t) => {
  const f = await openFixture(t)
  t.same(count(await comingLate(f, 60, 7)), { applied: 7, refund_due: 53 })
  t.match(await f.stock(), { available: 0, held: 53, sold: 7 })
  await f.equation('after them')
})

t.test('control: without a look at the free units, a unit that another buyer holds is sold', async (t) => {
  const f = await openFixture(t)
  const counts = count(
    await comingLate(f, 2, 1, [
      ['stock.available < item.qty', 'false'],
      ['stock[from] < qty', 'false'],
      [' or number < 0', ''],
    ]),
  )
  t.same(counts, { applied: 2 })
  t.equal(await f.redis.hget(f.keys.shard(0, 'products'), '1:available'), '-1')
})

t.test(
  'a success and the request for its order at once end in a paid order, whoever comes first',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 100)
    const [a, b] = openCrowd(f)
    const seen = new Set<string>()
    for (let round = 0; round < 60; round += 1) {
      const { id } = await f.hold(1)
      const pay = () => a.applyPayment(notice(id, id, 'success'), false)
      const order = () => b.createOrder(id, null)
      const [first, second] = await Promise.all(round % 2 ? [pay(), order()] : [order(), pay()])
      seen.add([first.status, second.status].sort().join(' and '))
      t.match(await f.engine.readOrder(id), { payment_status: 'paid', order_status: 'confirmed' })
      t.match((await f.outcomes())[id], { outcome: 'applied' })
    }
    t.ok(
      [...seen].every((pair) => ['applied and created', 'created and parked'].includes(pair)),
      [...seen].join(', '),
    )
    t.match(await f.stock(), { sold: 60, available: 40, held: 0, pending: 0 })
    await f.equation('after them')
  },
)

t.test('a success and the release of its hold at once end in a refund, whoever comes first', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  const [a, b] = openCrowd(f)
  for (let round = 0; round < 60; round += 1) {
    const { id } = await f.hold(1)
    const pay = async () => {
      const answer = await a.applyPayment(notice(id, id, 'success'), false)
      return answer.status === 'unknown_order' ? a.applyPayment(notice(id, id, 'success'), true) : answer
    }
    const release = () => b.releaseHold(id)
    const [first, second] = await Promise.all(round % 2 ? [pay(), release()] : [release(), pay()])
    t.same([first.status, second.status].sort(), ['parked', 'released'])
    await a.settleParked(0)
    t.match((await f.outcomes())[id], { outcome: 'refund_due' })
  }
  t.match(await f.stock(), { available: 100 })
  t.equal(await f.redis.zcard(f.keys.shard(0, 'parked')), 0)
  await f.equation('after them')
})
