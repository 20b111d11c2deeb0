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

t.test('nothing is forgotten with another epoch, nor without one', async (t) => {
  const f = await openFixture(t, { url: server.url })
  await stockUp(f)
  await refusedByFence(t, f, (engine) => engine.forgetOrders(0))
  await f.redis.set(f.keys.shard(0, 'dead'), 'text')
  await refusedByFence(t, f, (engine) => engine.forgetMistyped(0))
})

t.test('control: without the fence an earlier epoch forgets the orders of a later one', async (t) => {
  const f = await openFixture(t, { url: server.url })
  const { unpaid } = await stockUp(f)
  await f.open({ epoch: 0, change: [['if fenced(keys.epoch, epoch) then', 'if false then']] }).forgetOrders(0)
  t.ok((await f.redis.pttl(f.keys.id(0, 'order', unpaid.id))) > 0)
})

t.test('what would stay for ever ends by itself from now on, and nothing else changes', async (t) => {
  const f = await openFixture(t, { url: server.url })
  const { unpaid, early, keyed } = await stockUp(f)
  const final = await f.order(1)
  await f.engine.cancelOrder(final.id)
  const before = await f.dump()
  await f.engine.forgetOrders(0)
  const gone = [`order:${unpaid.id}`, `order:${keyed}`, `parked_payments:${early.id}`].map(
    (it) => `{0}:${it}`,
  )
  for (const key of gone) t.match(before[key], { expires_at_ms: null }, `${key} was there for ever`)
  const kept = Object.entries(before).filter(([key]) => !gone.includes(key))
  const { ...after } = await f.dump()
  for (const key of gone) {
    const { expires_at_ms, ...rest } = after[key] ?? {}
    t.ok(Number(expires_at_ms) > (await f.now()), `${key} ends by itself`)
    t.same({ ...rest, expires_at_ms: null }, before[key], 'and is what it was')
    delete after[key]
  }
  t.same(after, Object.fromEntries(kept))
  const orders = kept.filter(([key]) => /^\{0\}:(order|parked_payments):/.test(key))
  t.same(
    orders.map(([key, { expires_at_ms }]) => [key, expires_at_ms !== null]),
    [[`{0}:order:${final.id}`, true]],
  )
})

t.test('what an undone entry left is forgotten', async (t) => {
  const f = await openFixture(t, { url: server.url })
  await f.load(1, 10)
  const { id } = await f.hold(1)
  const ordered = await f.engine.createOrder(id, null)
  const added = await f.engine.adjustStock(1, 1, 'k', null)
  if (ordered.status !== 'created' || added.status !== 'adjusted') throw new Error('it was refused')
  for (const { entry } of [ordered, added]) {
    await refusedByFence(t, f, (engine) =>
      engine.journal.forgetUndone({ ...entry, epoch: engine.fence.epoch(0) }),
    )
    f.engine.fence.open(0, 1)
    await f.engine.journal.forgetUndone(entry)
  }
  t.equal(await f.engine.readOrder(id), undefined)
  t.match(await f.engine.adjustStock(1, 1, 'k', null), { status: 'adjusted' })
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

t.test('more orders than one call takes end all the same', async (t) => {
  const f = await openFixture(t, { url: server.url })
  const ids = Array.from({ length: 2 * MAX_STEP + 1 }, (_, at) => `order ${at}`)
  const names = ids.map((id) => f.keys.id(0, 'order', id))
  await Promise.all(names.map((name) => f.redis.hset(name, 'order', '')))
  await f.redis.zadd(f.keys.shard(0, 'deadlines'), ...ids.flatMap((id) => [1, `${id}|1,2`]))
  await f.engine.forgetOrders(0)
  const left_ms = await Promise.all(names.map((name) => f.redis.pttl(name)))
  t.ok(left_ms.every((ms) => ms > 0))
})
