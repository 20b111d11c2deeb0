import t from 'tap'
import { clockAt } from '../fixtures/change.ts'
import {
  count,
  type Fixture,
  LONG_MS,
  notice,
  openFixture,
  refusedByFence,
  unchanged,
} from '../fixtures/redis.ts'

const WAIT_MS = 3 * LONG_MS + 10_000 // what a payment waits for an order that nobody holds units for

/** A payment that is parked for an order that nobody holds units for. */
async function park(f: Fixture, key: string, status: 'success' | 'failed' = 'success'): Promise<string> {
  const { id } = await f.hold(1)
  const never = `AAAAAAAAAAA${key.padStart(5, '-')}${id.slice(16)}`
  await f.engine.releaseHold(id)
  await f.engine.applyPayment(notice(never, key, status), true)
  return never
}
const settle = (f: Fixture, id: string) =>
  f.run('settle-parked', 0, { id, args: { id, park_ttl_ms: WAIT_MS } })

t.test('settling is refused with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await park(f, 'p1')
  await refusedByFence(t, f, (engine) => engine.settleParked(0))
})

t.test(
  'a parked payment is given up three of the longest TTLs and ten seconds after it came, not before',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const success = await park(f, 'p1')
    const failure = await park(f, 'p2', 'failed')
    const { value } = (await f.dump())[`{0}:parked_payments:${success}`] ?? { value: {} }
    const came_ms = Number(JSON.parse((value as Record<string, string>).p1 ?? '{}').created_at_ms)
    await f.redis.zadd(f.keys.shard(0, 'parked'), 'XX', came_ms + 2 * WAIT_MS, failure)
    const at = (moment_ms: number) => f.open({ change: clockAt(moment_ms) })
    const early = await unchanged(t, f, () => at(came_ms + WAIT_MS - 1).settleParked(0))
    t.same(early, [])
    t.same(await settle(f, success), ['not_due'])
    const entries = await at(came_ms + WAIT_MS).settleParked(0)
    t.match(entries, [
      {
        order: null,
        payments: [{ outcome: 'refund_due', first_outcome: 'parked', reason: 'order_never_came' }],
      },
    ])
    t.same(await f.engine.journal.readEntry(0, entries[0]?.entry_id ?? ''), entries[0])
    const others = await at(came_ms + 2 * WAIT_MS).settleParked(0)
    t.match(others, [
      { order: null, payments: [{ outcome: 'ignored', first_outcome: 'parked', reason: null }] },
    ])
    t.same(await unchanged(t, f, () => at(came_ms + 3 * WAIT_MS).settleParked(0)), [])
    t.same((await f.dump())['{0}:parked'], undefined)
    await f.equation('at the end')
  },
)

t.test('an id for which nothing is parked is not due', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  t.same(await unchanged(t, f, () => settle(f, id)), ['not_due'])
  await f.redis.zadd(f.keys.shard(0, 'parked'), 1, id)
  await f.engine.releaseHold(id)
  t.same(await settle(f, id), ['not_due'])
  t.equal(await f.redis.zcard(f.keys.shard(0, 'parked')), 0, 'a deadline without payments is dropped')
})

t.test(
  'a payment is not given up while its hold is there: the hold can still become the order',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const hold = await f.hold(1)
    await f.engine.applyPayment(notice(hold.id, 'p1', 'success'), false)
    await f.redis.zadd(f.keys.shard(0, 'parked'), 'XX', 1, hold.id)
    const before = await f.now()
    t.same(await settle(f, hold.id), ['postponed'])
    const deadline_ms = Number(await f.redis.zscore(f.keys.shard(0, 'parked'), hold.id))
    t.ok(deadline_ms >= before + WAIT_MS)
    t.same(await unchanged(t, f, () => f.engine.settleParked(0)), [])
    t.match(await f.engine.createOrder(hold.id, null), { order: { payment_status: 'paid' } })
    await f.equation('at the end')
  },
)

t.test('a postponed payment does not stand before one that is due', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const hold = await f.hold(1)
  await f.engine.applyPayment(notice(hold.id, 'p1', 'success'), false)
  const never = await park(f, 'p2')
  const parked = f.keys.shard(0, 'parked')
  await f.redis.zadd(parked, 'XX', 1, hold.id, 2, never)
  t.match(await f.engine.settleParked(0), [{ payments: [{ order_id: never, outcome: 'refund_due' }] }])
})

t.test('a payment for a released hold is due for refund at the next sweep', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  await f.engine.releaseHold(id)
  t.match(await f.engine.applyPayment(notice(id, 'p1', 'success'), true), { status: 'parked' })
  t.match(await f.engine.settleParked(0), [{ payments: [{ outcome: 'refund_due' }] }])
  await f.equation('at the end')
})

t.test('of two sweepers and the request for the order at once, one has the payment', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  const open = () => f.open({ own_connection: true })
  const [a, b, c] = [open(), open(), open()]
  for (let round = 0; round < 40; round += 1) {
    const { id } = await f.hold(1)
    await f.engine.applyPayment(notice(id, id, 'success', { amount: round % 2 ? 9900 : 1 }), false)
    await f.redis.zadd(f.keys.shard(0, 'parked'), 'XX', 1, id)
    const [order, ...swept] = await Promise.all([
      a.createOrder(id, null),
      b.settleParked(0),
      c.settleParked(0),
    ])
    t.equal(order.status, 'created')
    t.same(swept.flat(), [], 'its hold was there, so nothing is given up')
    t.match((await f.outcomes())[id], { outcome: round % 2 ? 'applied' : 'refund_due' })
    const never = await park(f, `${round}`)
    await f.redis.zadd(f.keys.shard(0, 'parked'), 'XX', 1, never)
    t.equal((await Promise.all([b.settleParked(0), c.settleParked(0)])).flat().length, 1)
  }
  await f.equation('at the end')
})

t.test(
  'control: payments that are given up while their hold lives are refunded, and the order is never paid',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const { id } = await f.hold(1)
    await f.engine.applyPayment(notice(id, 'p1', 'success'), false)
    await f.redis.zadd(f.keys.shard(0, 'parked'), 'XX', 1, id)
    const careless = f.open({ change: [['stored_hold(keys, id) then', 'false then']] })
    t.equal((await careless.settleParked(0)).length, 1)
    t.match(await f.engine.createOrder(id, null), { order: { payment_status: 'pending' } })
    t.same(count([{ status: (await f.outcomes()).p1?.outcome ?? '' }]), { refund_due: 1 })
  },
)
