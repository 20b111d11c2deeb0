import t from 'tap'
import { notice, openFixture, refusedByFence, TERMS, unchanged } from '../fixtures/redis.ts'

const wholeSecond = (ms: number) => Math.ceil(ms / 1000) * 1000

t.test('stock is not read with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await refusedByFence(t, f, (engine) => engine.readStock(0, [1]))
})

t.test('followed products come in one step, and those that are not there are left out', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.load(2, 20)
  const found = await unchanged(t, f, () => f.engine.readStock(0, [2, 99, 1]))
  t.same(
    found.map(({ id, stock }) => [id, stock.total]),
    [
      [2, 20],
      [1, 10],
    ],
  )
  t.same(found[1], { ...(await f.engine.readProduct(1)), terms: TERMS, next_chance_at_ms: null })
})

t.test('a product that is all held says when its first hold or unpaid order ends', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 2)
  await f.load(2, 5)
  const chance = async () => (await f.engine.readStock(0, [1]))[0]?.next_chance_at_ms
  await f.hold([[2, 1]], { engine: f.open({ hold_ttl_ms: 2_000 }) })
  const first = await f.hold(1, { engine: f.open({ hold_ttl_ms: 30_000 }) })
  t.equal(await chance(), null, 'one is still free')
  const second = await f.hold(1, { engine: f.open({ hold_ttl_ms: 60_000 }) })
  t.equal(await chance(), wholeSecond(first.expires_at_ms))
  const made = await f.open({ order_ttl_ms: 90_000 }).createOrder(first.id, null)
  if (made.status !== 'created') throw new Error(made.status)
  t.equal(await chance(), wholeSecond(second.expires_at_ms), 'the order has longer')
  await f.engine.applyPayment(notice(first.id, 'p1', 'success'), false)
  await f.engine.releaseHold(second.id)
  await f.order(1)
  t.ok(((await chance()) ?? 0) > (await f.now()), 'a pending unit may come back')
  await f.load(1, 2, { paused: true })
  t.equal(await chance(), null, 'nobody waits for what is paused')
})

t.test('a product of which everything is sold has no next chance', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 1)
  const { id } = await f.order(1)
  await f.engine.applyPayment(notice(id, 'p1', 'success'), false)
  t.match(await f.engine.readStock(0, [1]), [{ state: 'sold_out', next_chance_at_ms: null }])
})
