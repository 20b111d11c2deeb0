import t from 'tap'
import type { FindBought } from '../../src/engine/bought.ts'
import { EPOCH, openFixture, unchanged } from '../fixtures/redis.ts'
import { times } from '../fixtures/until.ts'

const LIMIT = 3
const ADA = { customer_id: 'ada' }

/** PostgreSQL as far as it matters here: who has bought how much. Notes what it is asked. */
function createBooks(bought: Record<string, number>) {
  const asked: string[][] = []
  const findBought: FindBought = async (buyers) => {
    const names = buyers.map(({ product_id, customer_id }) => `${product_id}:${customer_id}`)
    asked.push(names)
    return names.map((name) => bought[name] ?? 0)
  }
  return { asked, findBought }
}

t.test('what a customer had bought before a rebuild is asked for once, and counts', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 20, { max_per_customer: LIMIT }, { pending: 0, sold: 5 })
  const { asked, findBought } = createBooks({ '1:ada': 2 })
  const engine = f.open({ findBought })
  t.match(await f.place(2, { engine, ...ADA }), { status: 'limit_exceeded', limit: LIMIT })
  t.match(await f.place(1, { engine, ...ADA }), { status: 'placed' })
  t.match(await f.place(1, { engine, ...ADA }), { status: 'limit_exceeded' })
  t.match(
    await f.place(LIMIT, { engine, customer_id: 'bob|1:c' }),
    { status: 'placed' },
    'nothing is told too',
  )
  t.match(await f.place(1, { engine, customer_id: 'bob|1:c' }), { status: 'limit_exceeded' })
  t.same(asked, [['1:ada'], ['1:bob|1:c']])
  await f.equation('at the end')
})

t.test('where nothing was sold, or nothing is limited, nobody is asked', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 20, { max_per_customer: LIMIT })
  await f.load(2, 20, {}, { pending: 0, sold: 5 })
  const { asked, findBought } = createBooks({ '1:ada': LIMIT, '2:ada': LIMIT })
  const engine = f.open({ findBought })
  t.match(
    await f.place(
      [
        [1, LIMIT],
        [2, 1],
      ],
      { engine, ...ADA },
    ),
    { status: 'placed' },
  )
  const order = await f.order(1, { customer_id: 'bob' })
  t.match(await f.place(LIMIT, { engine, customer_id: order.customer_id ?? '' }), {
    status: 'limit_exceeded',
  })
  t.same(asked, [])
})

t.test('who has his limit in holds already is refused unasked', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 20, { max_per_customer: LIMIT }, { pending: 0, sold: 5 })
  await f.engine.loadBuyers(0, new Map([['1:ada', LIMIT]]))
  t.match(await f.place(1, ADA), { status: 'limit_exceeded' })
})

t.test('those who come together are asked for together, a cart for all its lines', async (t) => {
  const f = await openFixture(t)
  for (const product of [1, 2]) {
    await f.load(product, 100, { max_per_customer: LIMIT }, { pending: 0, sold: 5 })
  }
  const { asked, findBought } = createBooks({ '2:c7': 1 })
  const engine = f.open({ findBought })
  const answers = await times(20, (at) =>
    f.place(
      [
        [1, 1],
        [2, LIMIT],
      ],
      { engine, customer_id: `c${at}` },
    ),
  )
  t.same(
    answers.map(({ status }) => status),
    answers.map((_, at) => (at === 7 ? 'limit_exceeded' : 'placed')),
  )
  t.equal(asked.flat().length, 40)
  t.ok(asked.length <= 3, `${asked.length} questions`)
})

t.test('while PostgreSQL does not say, such a hold is refused, and changes nothing', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 20, { max_per_customer: LIMIT }, { pending: 0, sold: 5 })
  const engine = f.open({ findBought: () => Promise.reject(new Error('away')) })
  await unchanged(t, f, () => t.rejects(f.place(1, { engine, ...ADA }), { message: 'away' }))
  t.match(await f.place(1), { status: 'customer_required' })
})

t.test('nobody waits for PostgreSQL without end', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 20, { max_per_customer: LIMIT }, { pending: 0, sold: 5 })
  const engine = f.open({ findBought: () => new Promise(() => {}) })
  await unchanged(t, f, () => t.rejects(f.place(1, { engine, ...ADA }), { code: 'unavailable' }))
})

t.test('an answer that comes after the next rebuild is not told to it', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 20, { max_per_customer: LIMIT }, { pending: 0, sold: 5 })
  const engine = f.open({
    findBought: async (buyers, epoch) => {
      t.equal(epoch, EPOCH)
      await f.next()
      return buyers.map(() => 0)
    },
  })
  await t.rejects(f.place(1, { engine, ...ADA }), { code: 'recovering' })
  t.equal(await f.redis.exists(f.keys.shard(0, 'bought')), 0)
})

t.test('control: without the fence it is', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 20, { max_per_customer: LIMIT }, { pending: 0, sold: 5 })
  const engine = f.open({
    change: [
      [
        "if fenced(keys.epoch, epoch) then\n  return { 'fenced' }\nend\nredis.call('HSET', keys.bought",
        "redis.call('HSET', keys.bought",
      ],
    ],
    findBought: async (buyers) => {
      await f.next()
      return buyers.map(() => 0)
    },
  })
  await t.rejects(f.place(1, { engine, ...ADA }), { code: 'recovering' })
  t.equal(await f.redis.exists(f.keys.shard(0, 'bought')), 1)
})

t.test('a rebuild forgets what was told to the one before', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 20, { max_per_customer: LIMIT }, { pending: 0, sold: 5 })
  const { findBought } = createBooks({})
  await f.place(1, { engine: f.open({ findBought }), ...ADA })
  t.equal(await f.redis.hget(f.keys.shard(0, 'bought'), '1:ada'), '0')
  await (await f.next()).clearShard(0)
  t.equal(await f.redis.exists(f.keys.shard(0, 'bought')), 0)
})
