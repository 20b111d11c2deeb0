import t, { type Test } from 'tap'
import type { ShardKey } from '../../src/engine/keys.ts'
import { verifyShard } from '../../src/recovery/verify.ts'
import { build } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { buildFaulty, type FaultyApp } from './fixtures/faulty-app.ts'
import { checkSale, createClient, isReady, newLedger } from './fixtures/sale.ts'

type Broken = {
  what: string
  /** Spoils the data of a product of 10 units, with one hold, one dead hold and one order. */
  spoil: (faulty: FaultyApp, product: number) => Promise<unknown>
  /** Whether only counters are spoiled: then the hold outlives it, and a new start mends it as a repair does. */
  spares_holds: boolean
}

const key = ({ app }: FaultyApp, name: ShardKey) => app.engine.keys.shard(0, name)

const CASES: Broken[] = [
  {
    what: 'a counter that is not a number',
    spoil: (f, product) => f.server.redis.hset(key(f, 'products'), `${product}:available`, 'many'),
    spares_holds: true,
  },
  {
    what: 'a negative counter',
    spoil: (f, product) => f.server.redis.hset(key(f, 'products'), `${product}:available`, '-1'),
    spares_holds: true,
  },
  {
    what: 'counters that do not add up',
    spoil: (f, product) => f.server.redis.hincrby(key(f, 'products'), `${product}:available`, 5),
    spares_holds: true,
  },
  {
    what: 'a counter that is gone',
    spoil: (f, product) => f.server.redis.hdel(key(f, 'products'), `${product}:held`),
    spares_holds: true,
  },
  {
    what: 'a key of the wrong type in the place of the products',
    spoil: (f) => f.server.redis.set(key(f, 'products'), 'text'),
    spares_holds: true,
  },
  {
    what: 'a key of the wrong type in the place of the holds',
    spoil: (f) => f.server.redis.set(key(f, 'holds'), 'text'),
    spares_holds: false,
  },
  {
    what: 'a hold that can not be read',
    spoil: async (f) => {
      const [member = '', score = ''] = await f.server.redis.zrange(key(f, 'holds'), '-1', '-1', 'WITHSCORES')
      await f.server.redis.zrem(key(f, 'holds'), member)
      await f.server.redis.zadd(key(f, 'holds'), score, member.replace(':', '?'))
    },
    spares_holds: false,
  },
  { what: 'the loss of all holds', spoil: (f) => f.server.redis.del(key(f, 'holds')), spares_holds: false },
]

async function spoilAndMend(
  t: Test,
  { spoil, spares_holds }: Broken,
  mended_by: 'repair' | 'restart',
): Promise<void> {
  const faulty = await buildFaulty(t, { sweeper: false })
  const { app, server } = faulty
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(10)
  const order = await client.ordered(product)
  const { hold_id } = await client.held(product)
  const short = await app.product(1, { hold_ttl_ms: 1 })
  await client.held(short)
  await spoil(faulty, product)

  // Whoever touches what is broken is told 503 and rings the alarm; nobody gets a unit that is not there.
  const seen = app.log.length
  await Promise.all([
    app.call('POST', '/api/holds', { product_id: product, qty: 9 }),
    app.call('POST', '/api/orders', { hold_id }),
  ])
  const [row] = await app.sql<{ committed: number }>('select committed from products where id = $1', [
    product,
  ])
  t.ok((row?.committed ?? 0) <= 2, 'no more is ordered than was held')
  t.ok(app.log.length > seen, 'the log says so')

  const look = () => verifyShard(app.engine, app.service.db, 0, () => Promise.resolve())
  t.notOk((await look()).is_clean, 'verify finds it')
  if (mended_by === 'repair') app.engine.fence.close(0, 'a repair was asked for', 'wrong')
  else
    await build(t, {
      beside: { prefix: app.prefix, database: app.database, redis: server.redis },
      redis_url: server.url,
    })
  await app.engine.probe()
  await isReady(app)
  const { status } = await app.call('GET', `/api/holds/${hold_id}`)
  if (spares_holds) t.equal(status, 200, 'the hold goes on')
  else t.match(status === 404 || status === 410 || status === 200, true, `the hold: ${status}`)
  await until('dead holds can be taken back', () =>
    app.engine.expireHolds(0).then(
      () => true,
      () => false,
    ),
  )
  t.match(await client.pay(order.order_id, 'success'), { outcome: 'applied' })
  await checkSale(t, app, ledger)
}

for (const broken of CASES) {
  for (const mended_by of broken.spares_holds ? (['repair', 'restart'] as const) : (['repair'] as const)) {
    t.test(`${broken.what}: nothing wrong is sold, the alarm rings, a ${mended_by} mends it`, (t) =>
      spoilAndMend(t, broken, mended_by),
    )
  }
}

t.test('unpaid orders that Redis has lost are brought back, and do not hold up the others', async (t) => {
  const faulty = await buildFaulty(t, { env: { ORDER_TTL_SECONDS: '2' } })
  const { app, server } = faulty
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(300)
  // More than one sweep looks at, and due before any other.
  for (let count = 0; count < 110; count += 1) await client.ordered(product)
  await server.redis.unlink(...(await app.keys('{0}:order:*')))
  await client.ordered(product)
  const timed_out = () =>
    app.sql<{ count: number }>("select count(*) from orders where cancel_reason = 'payment_timeout'")
  await until('all have timed out', async () => (await timed_out())[0]?.count === 111)
  await isReady(app)
  t.match(await app.stock(product), { available: 300, pending: 0 })
  t.ok(app.log.some((line) => /has lost \d+ unpaid orders/.test(line)))
  await checkSale(t, app, ledger)
})
