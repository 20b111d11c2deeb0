import t from 'tap'
import type { Engine } from '../../src/engine/engine.ts'
import { clockAt } from '../fixtures/change.ts'
import { type Fixture, notice, openFixture } from '../fixtures/redis.ts'

const TTL_MS = 60_000
const MAX_ENDS = 256

/** Until when a buyer of one unit is told to wait, by the clock of this engine. */
async function waitEnds(f: Fixture, product: number, now_ms: number): Promise<number> {
  const engine = f.open({ change: clockAt(now_ms) })
  const answer = await f.place([[product, 1]], { engine })
  if (!('reason' in answer) || answer.reason !== 'all_held') throw new Error(JSON.stringify(answer))
  return now_ms + answer.retry_after_ms
}

const withTtl = (f: Fixture, hold_ttl_ms: number): Engine => f.open({ hold_ttl_ms })

t.test('a buyer waits for the first hold on this product that ends, whatever others do before', async (t) => {
  const f = await openFixture(t, { hold_ttl_ms: TTL_MS })
  await f.load(1, 3)
  await f.load(2, 100)
  for (const ttl_ms of [500, 700, 900]) await f.hold([[2, 1]], { engine: withTtl(f, ttl_ms * 10) })
  const cart = await f.hold(
    [
      [2, 1],
      [1, 2],
    ],
    { engine: withTtl(f, 40_000) },
  )
  await f.hold(1)
  const now_ms = await f.now()
  t.equal(await waitEnds(f, 1, now_ms), cart.expires_at_ms)
  t.equal(await waitEnds(f, 1, now_ms + 30_000), cart.expires_at_ms, 'later it is not longer')
  await f.open({ change: clockAt(now_ms + 10) }).extendHold(cart.id)
  t.ok(
    (await waitEnds(f, 1, now_ms + 20)) > cart.expires_at_ms,
    'nor does an extended hold end before its end',
  )
  await f.equation('at the end')
})

t.test('or for the first unpaid order of it that is cancelled', async (t) => {
  const f = await openFixture(t, { hold_ttl_ms: TTL_MS })
  await f.load(1, 2)
  await f.load(2, 10)
  const deadline = (hold_id: string, order_ttl_ms: number) =>
    f.open({ order_ttl_ms }).createOrder(hold_id, null)
  await deadline((await f.hold([[2, 1]])).id, 5_000)
  const made = await deadline((await f.hold(1)).id, 90_000)
  if (made.status !== 'created') throw new Error(made.status)
  const hold = await f.hold(1)
  const now_ms = await f.now()
  t.equal(await waitEnds(f, 1, now_ms), hold.expires_at_ms)
  await deadline(hold.id, 200_000)
  t.equal(await waitEnds(f, 1, now_ms), made.order.pay_by_ms, 'though that is more than one TTL away')
  t.equal(
    await waitEnds(f, 1, made.order.pay_by_ms + 5),
    made.order.pay_by_ms + 5,
    'an order that is overdue may be swept at any moment',
  )
  await f.engine.cancelOrder(made.order.id)
  t.match(await f.place(1), { status: 'placed' })
  await f.equation('at the end')
})

t.test('a hold that is paid for never ends, so there is no moment to name but one TTL', async (t) => {
  const f = await openFixture(t, { hold_ttl_ms: TTL_MS })
  await f.load(1, 1)
  await f.load(2, 5)
  await f.hold([[2, 1]], { engine: withTtl(f, 1_000) })
  const hold = await f.hold(1)
  await f.engine.applyPayment(notice(hold.id, 'p1', 'success'), false)
  const now_ms = await f.now()
  t.equal(await waitEnds(f, 1, now_ms), now_ms + TTL_MS)
})

t.test('behind more ends of others than are looked at, the last of these counts', async (t) => {
  const f = await openFixture(t, { hold_ttl_ms: TTL_MS })
  await f.load(1, 1)
  await f.load(2, 1000)
  const soon = withTtl(f, 10_000)
  const others = await Promise.all(Array.from({ length: MAX_ENDS }, () => f.hold([[2, 1]], { engine: soon })))
  const last_ms = Math.max(...others.map(({ expires_at_ms }) => expires_at_ms))
  const own = await f.hold(1)
  const now_ms = await f.now()
  t.equal(await waitEnds(f, 1, now_ms), last_ms, 'not what it is, but no later')
  await f.engine.releaseHold(others[0]?.id ?? '')
  t.equal(await waitEnds(f, 1, now_ms), own.expires_at_ms, 'with one less it is seen')
})

t.test('what the same step has placed may end first, also where a cart made it shorter', async (t) => {
  const f = await openFixture(t, { hold_ttl_ms: TTL_MS })
  await f.load(1, 3)
  await f.load(2, 5, { hold_ttl_ms: 7_000 })
  const cart: Array<[number, number]> = [
    [1, 3],
    [2, 1],
  ]
  const [placed, refused] = await Promise.all([f.place(cart), f.place(1)])
  t.match(placed, { status: 'placed' })
  t.match(refused, { reason: 'all_held', retry_after_ms: 7_000 })
  t.match((await f.place(1)) as object, { reason: 'all_held' })
})

t.test('a batch of refusals looks once for each product', async (t) => {
  const f = await openFixture(t, { hold_ttl_ms: TTL_MS })
  for (const product of [1, 2]) await f.load(product, 1)
  await f.hold(1)
  await f.hold([[2, 1]])
  const calls = async () => {
    const stats = await f.redis.info('commandstats')
    return Number(/cmdstat_zrange:calls=(\d+)/.exec(stats)?.[1] ?? 0)
  }
  await f.redis.config('RESETSTAT')
  const answers = await Promise.all(Array.from({ length: 128 }, (_, at) => f.place([[(at % 2) + 1, 1]])))
  t.same(new Set(answers.map((answer) => ('reason' in answer ? answer.reason : ''))), new Set(['all_held']))
  // One for dead holds and one for ends; others who share this Redis may add some.
  t.ok((await calls()) < 60, `${await calls()} looks for 128 refusals`)
})

t.test('control: a look at the ends of the whole shard tells a buyer to come too early', async (t) => {
  const f = await openFixture(t, { hold_ttl_ms: TTL_MS })
  await f.load(1, 1)
  await f.load(2, 1)
  const other = await f.hold([[2, 1]], { engine: withTtl(f, 5_000) })
  const own = await f.hold(1)
  const now_ms = await f.now()
  t.equal(await waitEnds(f, 1, now_ms), own.expires_at_ms)
  const careless = f.open({
    change: [...clockAt(now_ms), ['seen.first[other] = ', 'seen.first[product] = ']],
  })
  t.match(await f.place(1, { engine: careless }), { retry_after_ms: other.expires_at_ms - now_ms })
})
