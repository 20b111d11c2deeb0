import t from 'tap'
import { type Change, clockAt } from '../fixtures/change.ts'
import { count, type Fixture, notice, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

t.test('a release is refused with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  await refusedByFence(t, f, (engine) => engine.releaseHold(id))
})

t.test('a hold that became an order is not released, not even when its time is over', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const order = await f.order(2)
  t.same(await unchanged(t, f, () => f.engine.releaseHold(order.id)), { status: 'already_used' })
  const later = f.open({ change: clockAt(order.hold_expires_at_ms) })
  t.same(await unchanged(t, f, () => later.releaseHold(order.id)), { status: 'already_used' })
  await f.engine.cancelOrder(order.id)
  t.same(await unchanged(t, f, () => f.engine.releaseHold(order.id)), { status: 'already_used' })
  await f.equation('at the end')
})

t.test('a released hold gives its units back at once, and a second release changes nothing', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.load(2, 10)
  await f.hold(5)
  const { id } = await f.hold([
    [1, 3],
    [2, 4],
  ])
  t.same(await f.engine.releaseHold(id), { status: 'released', entry: null })
  t.match(await f.stock(1), { available: 5, held: 5 })
  t.match(await f.stock(2), { available: 10, held: 0 })
  await f.equation('after the release')
  const again = await unchanged(t, f, () => f.engine.releaseHold(id))
  t.same(again, { status: 'already_released', shard: 0, entry_id: '' })
  t.same(await f.engine.readHold(id), { status: 'released', customer_id: null })
  t.equal(await f.engine.journal.length(0), 0, 'nothing is journaled for a hold without payments')
})

t.test('a released hold is remembered until the moment at which it would have ended', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const hold = await f.hold(1)
  await f.engine.releaseHold(hold.id)
  const { [`{0}:released:${hold.id}`]: released } = await f.dump()
  t.equal(released?.expires_at_ms, hold.expires_at_ms)
  await f.redis.del(f.keys.id(0, 'released', hold.id))
  const later = f.open({ change: clockAt(hold.expires_at_ms) })
  t.same(await unchanged(t, f, () => later.releaseHold(hold.id)), { status: 'expired' })
  await f.equation('at the end')
})

t.test('an id that was never given out is not found', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  const never = `AAAAAAAAAAAAAAAA${id.slice(16)}`
  t.same(await unchanged(t, f, () => f.engine.releaseHold(never)), { status: 'not_found' })
})

t.test(
  'an expired hold is not released, swept or not, nor after its units went to another buyer',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 2)
    const dead = await f.deadHold(2)
    t.same(await unchanged(t, f, () => f.engine.releaseHold(dead.id)), { status: 'expired' })
    await f.hold(2)
    t.same(await unchanged(t, f, () => f.engine.releaseHold(dead.id)), { status: 'expired' })
    t.match(await f.stock(), { available: 0, held: 2 })
    await f.equation('at the end')
  },
)

t.test('the customer of a released hold may take as many units again', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10, { max_per_customer: 2 })
  const { id } = await f.hold(2, { customer_id: 'ada' })
  t.match(await f.place(1, { customer_id: 'ada' }), { status: 'limit_exceeded' })
  await f.engine.releaseHold(id)
  await f.equation('after the release')
  await f.hold(2, { customer_id: 'ada' })
  await f.equation('at the end')
})

t.test(
  'payments parked for a released hold are journaled: a success for refund, a failure as ignored',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const { id } = await f.hold(2)
    await f.engine.applyPayment(notice(id, 'p1', 'failed'), false)
    await f.engine.applyPayment(notice(id, 'p2', 'success', { amount: 19800, currency: 'USD' }), false)
    const answer = await f.engine.releaseHold(id)
    const wanted = [
      { idempotency_key: 'p1', outcome: 'ignored', first_outcome: 'parked', reason: null },
      {
        idempotency_key: 'p2',
        order_id: id,
        amount: 19800,
        outcome: 'refund_due',
        first_outcome: 'parked',
        reason: 'hold_released',
      },
    ]
    t.match(answer, { status: 'released', entry: { order: null, payments: wanted } })
    const entry_id = answer.status === 'released' ? (answer.entry?.entry_id ?? '') : ''
    t.match(await f.engine.journal.readEntry(0, entry_id), { payments: wanted })
    t.same(
      await f.engine.releaseHold(id),
      { status: 'already_released', shard: 0, entry_id },
      'a repetition waits for it',
    )
    await f.engine.journal.dropEntries(0, [entry_id], 1, { writer: 'w', commits: 1 })
    t.same(await f.engine.releaseHold(id), { status: 'already_released', shard: 0, entry_id: '' })
    t.equal(await f.redis.zcard(f.keys.shard(0, 'parked')), 0)
    await f.equation('at the end')
  },
)

t.test('units that the counters do not have are never given back: that is an alarm', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(2)
  const order = await f.order(3)
  await f.deadHold(1)
  await f.redis.hset(f.keys.shard(0, 'products'), { '1:available': 9, '1:held': 0, '1:pending': 1 })
  for (const step of [
    () => f.engine.releaseHold(id),
    () => f.engine.createOrder(id, null),
    () => f.engine.cancelOrder(order.id),
    () => f.engine.applyPayment(notice(order.id, 'p1', 'success'), false),
    () => f.engine.applyPayment(notice(order.id, 'p2', 'failed'), false),
  ] as Array<() => Promise<unknown>>) {
    f.alarms.length = 0
    await unchanged(t, f, () => t.rejects(step(), { code: 'unavailable' }))
    t.match(f.alarms, [/BROKEN product 1 has fewer than \d units/])
  }
  const sweeping = f.open()
  await unchanged(t, f, () => sweeping.expireHolds(0))
  t.notOk(sweeping.fence.isOpen(0), 'a sweep sees to it that they are counted anew')
})

const releasing = async (f: Fixture, change?: Change) => {
  await f.load(1, 100)
  await f.hold(60)
  const { id } = await f.hold(1)
  const engines = Array.from({ length: 3 }, () =>
    f.open({ own_connection: true, ...(change ? { change } : {}) }),
  )
  return Promise.all(
    Array.from({ length: 50 }, (_, at) => engines[at % 3]?.releaseHold(id) ?? { status: '' }),
  )
}

t.test('of 50 releases of one hold at once, one gives the units back', async (t) => {
  const f = await openFixture(t)
  t.same(count(await releasing(f)), { released: 1, already_released: 49 })
  t.match(await f.stock(), { available: 40, held: 60 })
  await f.equation('after them')
})

t.test('control: a release that leaves the hold in place gives back the units of others', async (t) => {
  const f = await openFixture(t)
  const drops = '\nremove_hold(keys, hold)\n'
  const counts = count(await releasing(f, [[drops, '']]))
  t.ok((counts.released ?? 0) > 1)
  const held = (await f.stock())?.held ?? 60
  t.ok(held < 60, `live holds of 60 units are counted as ${held}`)
})
