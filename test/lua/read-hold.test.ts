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

t.test('a record that can not be read is an alarm', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  const holds = f.keys.shard(0, 'holds')
  const [, score = ''] = await f.redis.zrange(holds, '0', '0', 'WITHSCORES')
  await f.redis.del(holds)
  await f.redis.zadd(holds, score, `${id}|nonsense`)
  await t.rejects(f.engine.readHold(id), { code: 'unavailable' })
  t.match(f.alarms, [/BROKEN a hold has no readable record/])
})

t.test('of thousands of holds that end in one millisecond each is found, extended or not', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 5_000)
  const at = f.open({ change: clockAt(1_800_000_000_000) })
  const holds = await Promise.all(Array.from({ length: 1_500 }, () => f.hold(1, { engine: at })))
  t.equal(new Set(holds.map(({ expires_at_ms }) => expires_at_ms)).size, 1)
  const scores = (await f.redis.zrange(f.keys.shard(0, 'holds'), '0', '-1', 'WITHSCORES')).filter(
    (_, n) => n % 2,
  )
  t.ok(new Set(scores).size > 300, 'few of them share a score')
  const extending = f.open({ change: clockAt(1_800_000_000_005) })
  for (const hold of holds.slice(0, 300)) {
    t.same(await at.readHold(hold.id), { status: 'live', hold })
    const extended = await extending.extendHold(hold.id)
    t.same(await at.readHold(hold.id), {
      status: 'live',
      hold: { ...hold, expires_at_ms: hold.expires_at_ms + 5 },
    })
    t.match(extended, { status: 'extended' })
  }
  await f.equation('at the end')
})
