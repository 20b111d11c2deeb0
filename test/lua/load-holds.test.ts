import t from 'tap'
import { clockAt } from '../fixtures/change.ts'
import { openFixture, refusedByFence } from '../fixtures/redis.ts'

const MAX_STEP = 500 // holds, or buyers, in one call

t.test('paid holds and buyers are not loaded with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const hold = await f.hold(1)
  await refusedByFence(t, f, (engine) => engine.loadHolds(0, [hold], new Map([['1:ada', 1]])))
  await refusedByFence(t, f, (engine) => engine.loadHolds(0, [], new Map([['1:ada', 1]])))
})

t.test('a hold that is loaded as paid does not expire, the others do', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const [paid, other] = [await f.hold(1), await f.hold(1)]
  await f.engine.loadHolds(0, [paid], new Map())
  await f.equation('after the load')
  const later = f.open({ change: clockAt(Math.max(paid.expires_at_ms, other.expires_at_ms)) })
  t.match(await later.expireHolds(0), { count: 1, prepaid_ids: [paid.id] })
  t.same(await later.readHold(paid.id), { status: 'live', hold: paid })
  t.match(await later.readHold(other.id), { status: 'expired' })
  await f.equation('at the end')
})

t.test('what buyers have counts again towards their limit, whatever they are called', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10, { max_per_customer: 3 })
  await f.engine.loadHolds(
    0,
    [],
    new Map([
      ['1:ada', 3],
      ['1:a|b:c 漢字', 2],
    ]),
  )
  t.match(await f.place(1, { customer_id: 'ada' }), { status: 'limit_exceeded', limit: 3 })
  t.match(await f.place(2, { customer_id: 'a|b:c 漢字' }), { status: 'limit_exceeded' })
  t.match(await f.place(1, { customer_id: 'a|b:c 漢字' }), { status: 'placed' })
})

t.test('more paid holds and buyers than one call takes are loaded all the same', async (t) => {
  const f = await openFixture(t)
  const many = MAX_STEP + 2
  await f.load(1, many)
  const holds = await Promise.all(Array.from({ length: many }, () => f.hold(1)))
  await f.engine.loadHolds(0, holds, new Map(holds.map((_, at) => [`1:buyer ${at}`, 1])))
  t.equal(await f.redis.zcard(f.keys.shard(0, 'prepaid')), many)
  t.equal(await f.redis.zcard(f.keys.shard(0, 'expiry')), 0)
  t.equal(await f.redis.hlen(f.keys.shard(0, 'buyers')), many)
  await f.equation('after the load')
})
