import t from 'tap'
import { clockAt } from '../fixtures/change.ts'
import { notice, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

t.test('a hold is not read with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  await refusedByFence(t, f, (engine) => engine.readHold(id))
})

t.test('a hold reads as what it is at this moment, and reading changes nothing', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const order = await f.order(1)
  const released = await f.hold(1, { customer_id: 'b|ob' })
  await f.engine.releaseHold(released.id)
  const dead = await f.deadHold(1)
  const live = await f.hold(2, { customer_id: 'ada' })
  t.match(await unchanged(t, f, () => f.engine.readHold(order.id)), { status: 'already_used', order })
  t.same(await unchanged(t, f, () => f.engine.readHold(released.id)), {
    status: 'released',
    customer_id: 'b|ob',
  })
  const never = `AAAAAAAAAAAAAAAA${live.id.slice(16)}`
  t.same(await unchanged(t, f, () => f.engine.readHold(never)), { status: 'not_found' })
  t.same(await unchanged(t, f, () => f.engine.readHold(dead.id)), { status: 'expired' })
  await f.engine.expireHolds(0)
  t.same(await unchanged(t, f, () => f.engine.readHold(dead.id)), { status: 'expired' }, 'swept as well')
  t.same(await unchanged(t, f, () => f.engine.readHold(live.id)), { status: 'live', hold: live })
})

t.test('an unknown id whose time is over counts as expired, since nobody can tell', async (t) => {
  const f = await openFixture(t)
  const past = ((await f.now()) - 1).toString(16).padStart(11, '0')
  t.same(await f.engine.readHold(`AAAAAAAAAAAAAAAA${past}0`), { status: 'expired' })
  t.same(await f.engine.readHold('AAAAAAAAAAAAAAAA000000000000'), { status: 'expired' })
  t.same(await f.engine.readHold('AAAAAAAAAAAAAAAAfffffffffff0'), { status: 'not_found' })
})

t.test('a hold lives to the last millisecond before expires_at and is dead at expires_at', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const hold = await f.hold(1)
  const readAt = async (moment_ms: number) =>
    (await f.open({ change: clockAt(moment_ms) }).readHold(hold.id)).status
  t.equal(await readAt(hold.expires_at_ms - 1), 'live')
  t.equal(await readAt(hold.expires_at_ms), 'expired')
  t.equal(await readAt(hold.expires_at_ms + 1), 'expired')
})

t.test('a hold that is paid for is live past its end', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const hold = await f.hold(1)
  await f.engine.applyPayment(notice(hold.id, 'p1', 'success'), false)
  const later = f.open({ change: clockAt(hold.expires_at_ms + 1) })
  t.same(await later.readHold(hold.id), { status: 'live', hold })
})

t.test('a record without an end, or that cannot be read, is an alarm', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  await f.redis.hset(f.keys.shard(0, 'holds'), id, 'nonsense')
  await t.rejects(f.engine.readHold(id), { code: 'unavailable' })
  await f.redis.hset(f.keys.shard(0, 'holds'), id, '1:1:1|USD|1|1|')
  await f.redis.zrem(f.keys.shard(0, 'expiry'), id)
  await t.rejects(f.engine.readHold(id), { code: 'unavailable' })
  t.match(f.alarms, [/BROKEN a hold has no readable record/, /BROKEN hold .* has no expires_at/])
})
