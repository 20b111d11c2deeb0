import t from 'tap'
import { type Fixture, idem, notice, openFixture, refusedByFence } from '../fixtures/redis.ts'
import { openRedisServer } from '../fixtures/redis-server.ts'

/** A single server: a fixture does not know in which one of a cluster it would have to look for keys. */
const server = await openRedisServer(t)

const MAX_STEP = 500 // keys in one call

/** Orders, a payment that came too early, and the results of two keyed requests. */
async function stockUp(f: Fixture) {
  await f.load(1, 10_000)
  const unpaid = await f.order(1)
  const early = await f.hold(1)
  await f.engine.applyPayment(notice(early.id, 'p1', 'success'), false)
  const { id } = await f.hold(1)
  await f.engine.createOrder(id, { ...idem('k1'), scope: 'orders' })
  await f.engine.adjustStock(1, 1, 'k2', null)
  return { unpaid, early, keyed: id }
}

const kindsOf = async (f: Fixture) =>
  new Set(Object.keys(await f.dump()).map((key) => key.split(':').slice(1, 3).join(':')))

t.test('nothing is forgotten with another epoch, nor without one', async (t) => {
  const f = await openFixture(t, { url: server.url })
  await stockUp(f)
  await refusedByFence(t, f, (engine) => engine.forgetOrders(0))
  await refusedByFence(t, f, (engine) => engine.forgetResults(0, async () => new Set()))
  await refusedByFence(t, f, (engine) => engine.forgetAdjustments(0, async () => new Set()))
  await f.redis.set(f.keys.shard(0, 'dead'), 'text')
  await refusedByFence(t, f, (engine) => engine.forgetMistyped(0))
})

t.test('control: without the fence an earlier epoch forgets the orders of a later one', async (t) => {
  const f = await openFixture(t, { url: server.url })
  const { unpaid } = await stockUp(f)
  await f.open({ epoch: 0, change: [['if fenced(keys.epoch, epoch) then', 'if false then']] }).forgetOrders(0)
  t.match(await f.engine.readOrder(unpaid.id), undefined)
})

t.test('orders are forgotten with the payments that wait for them, and nothing else', async (t) => {
  const f = await openFixture(t, { url: server.url })
  const { unpaid, early } = await stockUp(f)
  const before = await f.dump()
  await f.engine.forgetOrders(0)
  const kept = Object.entries(before).filter(([key]) => !/^\{0\}:(order|parked_payments):/.test(key))
  t.same(await f.dump(), Object.fromEntries(kept))
  t.ok(before[`{0}:order:${unpaid.id}`] && before[`{0}:parked_payments:${early.id}`], 'they were there')
})

t.test('results are forgotten where what they tell of is not known', async (t) => {
  const f = await openFixture(t, { url: server.url })
  const { keyed } = await stockUp(f)
  await f.engine.forgetResults(0, async (ids) => new Set(ids.filter((id) => id === keyed)))
  await f.engine.forgetAdjustments(0, async () => new Set(['1:k2']))
  t.ok((await kindsOf(f)).has('idem:orders') && (await kindsOf(f)).has('idem:stock'))
  await f.engine.forgetResults(0, async () => new Set())
  t.notOk((await kindsOf(f)).has('idem:orders'))
  await f.engine.forgetAdjustments(0, async () => new Set())
  t.notOk((await kindsOf(f)).has('idem:stock'))
})

t.test('keys of another type than theirs are forgotten, the others stay', async (t) => {
  const f = await openFixture(t, { url: server.url })
  await stockUp(f)
  const before = await f.dump()
  await f.redis.set(f.keys.shard(0, 'dead'), 'text')
  await f.redis.lpush(f.keys.shard(0, 'extended'), 'text')
  await f.engine.forgetMistyped(0)
  t.same(await f.dump(), before)
})

t.test('more orders than one call takes are forgotten all the same', async (t) => {
  const f = await openFixture(t, { url: server.url })
  const names = Array.from({ length: 2 * MAX_STEP + 1 }, (_, at) => f.keys.id(0, 'order', String(at)))
  await Promise.all(names.map((name) => f.redis.hset(name, 'order', '')))
  await f.engine.forgetOrders(0)
  t.equal(await f.redis.exists(...names), 0)
})
