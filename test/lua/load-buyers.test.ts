import t from 'tap'
import { openFixture, refusedByFence } from '../fixtures/redis.ts'

const MAX_STEP = 500 // buyers in one call

t.test('buyers are not loaded with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await refusedByFence(t, f, (engine) => engine.loadBuyers(0, new Map([['1:ada', 1]])))
})

t.test('what buyers have counts again towards their limit, whatever they are called', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10, { max_per_customer: 3 })
  await f.engine.loadBuyers(
    0,
    new Map([
      ['1:ada', 3],
      ['1:a|b:c 漢字', 2],
    ]),
  )
  t.match(await f.place(1, { customer_id: 'ada' }), { status: 'limit_exceeded', limit: 3 })
  t.match(await f.place(2, { customer_id: 'a|b:c 漢字' }), { status: 'limit_exceeded' })
  t.match(await f.place(1, { customer_id: 'a|b:c 漢字' }), { status: 'placed' })
})

t.test('more buyers than one call takes are loaded all the same', async (t) => {
  const f = await openFixture(t)
  const many = MAX_STEP + 2
  await f.engine.loadBuyers(0, new Map(Array.from({ length: many }, (_, at) => [`1:buyer ${at}`, 1])))
  t.equal(await f.redis.hlen(f.keys.shard(0, 'buyers')), many)
})
