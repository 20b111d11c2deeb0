import t from 'tap'
import { notice, openFixture, refusedByFence, TERMS, unchanged } from '../fixtures/redis.ts'

t.test('products are not read with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await refusedByFence(t, f, (engine) => engine.readProduct(1))
})

t.test('reads that come together are answered in one step, each with its own product', async (t) => {
  const f = await openFixture(t)
  for (let id = 1; id <= 5; id += 1) await f.load(id, id * 10, { name: `Shoe ${id}` })
  const ids = [3, 1, 99, 3, 5, 2, 1, 4]
  const products = await unchanged(t, f, () => Promise.all(ids.map((id) => f.engine.readProduct(id))))
  t.same(
    products.map((product) => product && [product.id, product.terms.name, product.stock.total]),
    ids.map((id) => (id === 99 ? undefined : [id, `Shoe ${id}`, id * 10])),
  )
})

t.test('a product reads with its terms, and those that are not set as null', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  t.same(await f.engine.readProduct(1), {
    id: 1,
    terms: TERMS,
    stock: { total: 10, available: 10, held: 0, pending: 0, sold: 0 },
    state: 'available',
  })
})

t.test(
  'the state is the first that applies of paused, not started, ended; then what the stock says',
  async (t) => {
    const f = await openFixture(t)
    const now = await f.now()
    const state = async () => (await f.engine.readProduct(1))?.state
    const late = { starts_at_ms: now + 60_000, ends_at_ms: now - 1 }
    await f.load(1, 2, { ...late, paused: true })
    t.equal(await state(), 'paused')
    await f.load(1, 2, late)
    t.equal(await state(), 'not_started')
    await f.load(1, 2, { ends_at_ms: late.ends_at_ms })
    t.equal(await state(), 'ended')
    await f.load(1, 2)
    t.equal(await state(), 'available')
    const order = await f.order(1)
    t.equal(await state(), 'available')
    const hold = await f.hold(1)
    t.equal(await state(), 'all_held')
    await f.engine.applyPayment(notice(order.id, 'p1', 'success'), false)
    t.equal(await state(), 'all_held')
    await f.engine.createOrder(hold.id, null)
    t.equal(await state(), 'all_held', 'a pending unit may come back')
    await f.engine.applyPayment(notice(hold.id, 'p2', 'success'), false)
    t.equal(await state(), 'sold_out')
  },
)

t.test('a counter that is no count is an alarm, not a zero', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.redis.hset(f.keys.shard(0, 'products'), '1:available', 'ten')
  await t.rejects(f.engine.readProduct(1), { code: 'unavailable' })
  t.match(f.alarms, [/read-products: BROKEN 1:available is not a count/])
  await f.redis.hdel(f.keys.shard(0, 'products'), '1:available')
  await t.rejects(f.engine.readProduct(1), { code: 'unavailable' })
})

t.test('counters read while they change always add up', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 50)
  const buyers = f.open({ own_connection: true })
  const buying = (async () => {
    for (let round = 0; round < 40; round += 1) {
      const { id } = await f.hold(1, { engine: buyers })
      if (round % 2) await buyers.createOrder(id, null)
      else await buyers.releaseHold(id)
    }
  })()
  const stocks = []
  for (let round = 0; round < 150; round += 1) stocks.push(await f.stock())
  await buying
  t.same(
    stocks.filter((it) => !it || it.available + it.held + it.pending + it.sold !== it.total),
    [],
  )
  await f.equation('at the end')
})
