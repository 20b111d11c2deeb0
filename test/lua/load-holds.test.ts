import t from 'tap'
import { clockAt } from '../fixtures/change.ts'
import { openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

const MAX_STEP = 500 // holds in one call
/** Spread into one call, so many arguments are more than the stack holds. */
const MANY = 130_000
const FILL_STEP = 10_000

t.test('paid holds are not loaded with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  const holds = await f.engine.allHolds(0)
  await refusedByFence(t, f, (engine) => engine.loadHolds(0, holds, new Set([id])))
})

t.test('a hold that is loaded as paid does not expire, the others do', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const [paid, other] = [await f.hold(1), await f.hold(1)]
  const load = async () => f.engine.loadHolds(0, await f.engine.allHolds(0), new Set([paid.id]))
  await load()
  await f.equation('after the load')
  await unchanged(t, f, load)
  const later = f.open({ change: clockAt(Math.max(paid.expires_at_ms, other.expires_at_ms)) })
  t.match(await later.expireHolds(0), { count: 1 })
  t.same(await later.readHold(paid.id), { status: 'live', hold: paid })
  t.match(await later.readHold(other.id), { status: 'expired' })
  t.match(await later.orderPrepaid(0), [{ order: { id: paid.id } }])
  await f.equation('at the end')
})

t.test('a hold that is loaded as not paid expires, though it was', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id, expires_at_ms } = await f.hold(1)
  await f.engine.loadHolds(0, await f.engine.allHolds(0), new Set([id]))
  await f.engine.loadHolds(0, await f.engine.allHolds(0), new Set())
  const later = f.open({ change: clockAt(expires_at_ms) })
  t.match(await later.expireHolds(0), { count: 1 })
  t.same(await later.orderPrepaid(0), [])
  await f.equation('at the end')
})

t.test('a hold that was extended is found again, paid or not', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const [paid, other] = [await f.hold(1), await f.hold(1)]
  const extending = f.open({ change: clockAt(other.created_at_ms + 7) })
  for (const { id } of [paid, other]) await extending.extendHold(id)
  const before = await Promise.all([paid, other].map(({ id }) => f.engine.readHold(id)))
  await f.redis.del(f.keys.shard(0, 'extended'))
  t.match(await f.engine.readHold(other.id), { status: 'not_found' })
  t.equal(await f.engine.countUnfindable(0, await f.engine.allHolds(0)), 2)
  await f.engine.loadHolds(0, await f.engine.allHolds(0), new Set([paid.id]))
  t.equal(await f.engine.countUnfindable(0, await f.engine.allHolds(0)), 0)
  t.same(await Promise.all([paid, other].map(({ id }) => f.engine.readHold(id))), before)
  await f.equation('at the end')
})

t.test('more paid holds than one call takes are loaded all the same', async (t) => {
  const f = await openFixture(t)
  const many = MAX_STEP + 2
  await f.load(1, many)
  const holds = await Promise.all(Array.from({ length: many }, () => f.hold(1)))
  await f.engine.loadHolds(0, await f.engine.allHolds(0), new Set(holds.map(({ id }) => id)))
  t.equal(await f.redis.zcard(f.keys.shard(0, 'prepaid')), many)
  t.equal(await f.redis.zcard(f.keys.shard(0, 'holds')), 0)
  await f.equation('after the load')
})

t.test('of more extended holds than one call can name each is found, or counted as lost', async (t) => {
  const f = await openFixture(t)
  const [holds, extended] = [f.keys.shard(0, 'holds'), f.keys.shard(0, 'extended')]
  const first_ms = await f.now()
  const later_ms = first_ms + 1
  const ids = Array.from(
    { length: MANY },
    (_, at) => `${String(at).padStart(16, 'A')}${first_ms.toString(16)}0`,
  )
  for (let at = 0; at < MANY; at += FILL_STEP) {
    const [lost, ...kept] = ids.slice(at, at + FILL_STEP)
    const members = [lost, ...kept].flatMap((id) => [later_ms, `${id}|1:1:9900|USD|60000|`])
    await f.redis.zadd(holds, ...members)
    await f.redis.hset(extended, ...kept.flatMap((id) => [id, later_ms]))
  }
  t.equal(await f.engine.countUnfindable(0, await f.engine.allHolds(0)), MANY / FILL_STEP)
  const found = await f.engine.readFields(0, 'extended', ids)
  t.equal(found.length, MANY)
  t.same([found[0], found[1], found.at(-1)], [null, String(later_ms), String(later_ms)])
})
