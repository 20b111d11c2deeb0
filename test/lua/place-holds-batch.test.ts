import t from 'tap'
import { idem, openFixture, unchanged } from '../fixtures/redis.ts'

t.test('requests that come together are answered each for itself and in their order', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 3)
  await f.load(2, 10, { paused: true })
  await f.load(3, 10, { currency: 'EUR' })
  await f.load(4, 10, { max_per_customer: 1 })
  await f.hold([[4, 1]], { customer_id: 'ada', idem: idem('old') })
  const answers = await Promise.all([
    f.place(1),
    f.place([[99, 1]]),
    f.place([[2, 1]]),
    f.place(4),
    f.place(1),
    f.place([
      [1, 1],
      [3, 1],
    ]),
    f.place([[4, 1]]),
    f.place([[4, 1]], { customer_id: 'ada' }),
    f.place([[4, 1]], { customer_id: 'ada', idem: idem('old') }),
    f.place([[4, 1]], { customer_id: 'bob', idem: idem('old', 'other') }),
    f.place([[4, 1]], { customer_id: 'bob' }),
    f.place(1),
    f.place(1),
  ])
  t.same(
    answers.map(({ status }) => status),
    [
      'placed',
      'product_not_found',
      'sale_paused',
      'insufficient_stock',
      'placed',
      'currency_mismatch',
      'customer_required',
      'limit_exceeded',
      'replayed',
      'key_reused',
      'placed',
      'placed',
      'insufficient_stock',
    ],
  )
  const ids = answers.flatMap((answer) => ('hold' in answer ? [answer.hold.id] : []))
  t.equal(new Set(ids).size, ids.length, 'each has its own id')
  for (const answer of answers) {
    if (answer.status === 'placed') {
      t.match(await f.engine.readHold(answer.hold.id), { status: 'live', hold: answer.hold })
    }
  }
  await f.equation('after the batch')
})

t.test('two requests with one key that come together make one hold', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const [first, second, third] = await Promise.all([
    f.place(1, { idem: idem('k') }),
    f.place(1, { idem: idem('k') }),
    f.place(2, { idem: idem('k', 'another body') }),
  ])
  t.match(first, { status: 'placed' })
  t.same(second, { ...first, status: 'replayed' })
  t.same(third, { status: 'key_reused' })
  t.match(await f.stock(), { available: 9, held: 1 })
  await f.equation('after the batch')
})

t.test('a key whose first request is refused belongs to the first one that is granted', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 2)
  const answers = await Promise.all([
    f.place(3, { idem: idem('k', 'three') }),
    f.place(1, { idem: idem('k', 'one') }),
    f.place(3, { idem: idem('k', 'three') }),
  ])
  t.same(
    answers.map(({ status }) => status),
    ['insufficient_stock', 'placed', 'key_reused'],
  )
  await f.equation('after the batch')
})

t.test(
  'a request sees what those before it in the batch have taken, never what those after it will',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 5, { max_per_customer: 3 })
    const answers = await Promise.all([
      f.place(2, { customer_id: 'ada' }),
      f.place(2, { customer_id: 'ada' }),
      f.place(1, { customer_id: 'ada' }),
      f.place(3, { customer_id: 'bob' }),
      f.place(2, { customer_id: 'bob' }),
    ])
    t.match(answers, [
      { status: 'placed' },
      { status: 'limit_exceeded', limit: 3 },
      { status: 'placed' },
      { status: 'insufficient_stock', reason: 'too_many', available: 2 },
      { status: 'placed' },
    ])
    await f.equation('after the batch')
  },
)

t.test('more requests than one batch takes are all answered', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 700)
  const answers = await Promise.all(
    Array.from({ length: 1000 }, (_, at) => f.place(1, { idem: idem(`k${at}`) })),
  )
  t.equal(answers.filter(({ status }) => status === 'placed').length, 700)
  t.ok(
    answers.slice(0, 700).every(({ status }) => status === 'placed'),
    'first come, first served',
  )
  await f.equation('after all batches')
})

t.test('dead holds serve the whole batch that needs them', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 4, { max_per_customer: 4 })
  await f.deadHold(4, 'ada')
  const answers = await Promise.all([
    f.place(1, { customer_id: 'ada' }),
    f.place(2, { customer_id: 'ada' }),
    f.place(1, { customer_id: 'bob' }),
    f.place(1, { customer_id: 'bob' }),
  ])
  t.match(answers, [
    { status: 'placed' },
    { status: 'placed' },
    { status: 'placed' },
    { status: 'insufficient_stock', reason: 'all_held' },
  ])
  await f.equation('after the batch')
})

t.test('a counter that is no count, or does not add up, is never sold from', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const products = f.keys.shard(0, 'products')
  for (const [part, value] of [
    ['available', 'ten'],
    ['available', '9.5'],
    ['available', '-1'],
    ['held', ''],
    ['sold', '1'],
    ['available', '9007199254740992'],
    ['total', '1e400'],
    ['unit_amount', '-5'],
  ] as const) {
    const before = (await f.redis.hget(products, `1:${part}`)) ?? ''
    await f.redis.hset(products, `1:${part}`, value)
    f.alarms.length = 0
    await unchanged(t, f, () => t.rejects(f.place(1), { code: 'unavailable' }, `${part} ${value}`))
    t.match(f.alarms, [/place-holds: .*BROKEN/], 'and the alarm rings')
    await f.redis.hset(products, `1:${part}`, before)
  }
  await f.hold(1)
  await f.equation('when it is mended')
})

t.test('a key of another type is an alarm, not a sale', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10, { max_per_customer: 5 })
  await f.hold(1, { customer_id: 'ada' })
  const { stock } = (await f.engine.readProduct(1)) ?? {}
  const names = ['epoch', 'products', 'holds', 'buyers'] as const
  for (const key of [...names.map((name) => f.keys.shard(0, name)), f.keys.idem(0, 'test', 'k2')]) {
    if (await f.redis.exists(key)) await f.redis.rename(key, `${key}.aside`)
    await f.redis.xadd(key, '*', 'a', 'stream')
    f.alarms.length = 0
    await t.rejects(f.place(1, { customer_id: 'ada', idem: idem('k2') }), { code: 'unavailable' }, key)
    t.match(f.alarms, [/WRONGTYPE/])
    await f.redis.del(key)
    if (await f.redis.exists(`${key}.aside`)) await f.redis.rename(`${key}.aside`, key)
    t.same(await f.stock(), stock, 'no unit has moved')
  }
})
