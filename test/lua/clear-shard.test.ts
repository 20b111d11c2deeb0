import t from 'tap'
import { notice, openFixture, refusedByFence } from '../fixtures/redis.ts'

t.test('a shard is not cleared with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.order(1)
  await refusedByFence(t, f, (engine) => engine.clearShard(0))
})

t.test(
  'clearing forgets what PostgreSQL knows better, and keeps holds, journal, orders and keys',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 20, { max_per_customer: 20 })
    await f.order(1, { customer_id: 'ada' })
    const paid = await f.hold(1, { customer_id: 'ada' })
    await f.engine.applyPayment(notice(paid.id, 'p1', 'success'), false)
    await f.hold(1, { customer_id: 'bob' })
    const released = await f.hold(1, { customer_id: 'bob' })
    await f.engine.releaseHold(released.id)
    const before = await f.dump()
    const now_ms = await f.engine.clearShard(0)
    t.ok(Math.abs(now_ms - (await f.now())) < 10_000, 'it tells the time of Redis')
    const gone = ['products', 'deadlines', 'buyers', 'parked'].map((name) => `{0}:${name}`)
    for (const key of gone) t.ok(before[key], `${key} was there`)
    const kept = Object.fromEntries(Object.entries(before).filter(([key]) => !gone.includes(key)))
    const aside = { '{0}:products_before': before['{0}:products'] }
    t.same(await f.dump(), { ...kept, ...aside }, 'products are put aside')
    await f.load(2, 5)
    await f.engine.clearShard(0)
    t.same(await f.dump(), { ...kept, ...aside }, 'those of a rebuild that broke off take no place of theirs')
    await f.engine.forgetBefore(0)
    t.same(await f.dump(), kept)
  },
)

t.test('nothing is sold from a shard that was cleared, until its products are loaded', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.engine.clearShard(0)
  t.match(await f.place(1), { status: 'product_not_found' })
  await f.load(1, 10)
  t.match(await f.place(1), { status: 'placed' })
  await f.equation('at the end')
})
