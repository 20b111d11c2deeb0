import t from 'tap'
import type { Change } from '../fixtures/change.ts'
import { count, type Fixture, notice, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

t.test('a cancellation is refused with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.order(1)
  await refusedByFence(t, f, (engine) => engine.cancelOrder(id))
})

t.test('an order that Redis does not know is unknown, a live hold included', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  t.same(await unchanged(t, f, () => f.engine.cancelOrder(id)), { status: 'unknown_order' })
})

t.test('an order that is paid, failed or timed out is not pending', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const paid = await f.order(1)
  await f.engine.applyPayment(notice(paid.id, 'p1', 'success'), false)
  const failed = await f.order(1)
  await f.engine.applyPayment(notice(failed.id, 'p2', 'failed'), false)
  const late = await f.order(1, { order_ttl_ms: 1 })
  await f.engine.expireOrders(0)
  for (const { id } of [paid, failed, late]) {
    t.same(await unchanged(t, f, () => f.engine.cancelOrder(id)), { status: 'not_pending' })
  }
  await f.equation('at the end')
})

t.test('an unpaid order is cancelled on request, its units are free at once', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10, { max_per_customer: 3 })
  await f.load(2, 10)
  const order = await f.order(
    [
      [1, 3],
      [2, 2],
    ],
    { customer_id: 'ada' },
  )
  const answer = await f.engine.cancelOrder(order.id)
  const wanted = {
    order_status: 'cancelled',
    cancel_reason: 'requested',
    payment_status: 'pending',
    version: 2,
  }
  t.match(answer, { status: 'cancelled', order: { ...order, ...wanted } })
  t.match(await f.stock(1), { available: 10, pending: 0 })
  t.match(await f.stock(2), { available: 10, pending: 0 })
  t.equal(await f.redis.zcard(f.keys.shard(0, 'deadlines')), 0)
  await f.equation('after the cancellation')
  await f.hold(3, { customer_id: 'ada' })
  if (answer.status === 'cancelled') {
    t.same(await f.engine.journal.readEntry(0, answer.entry.entry_id), answer.entry)
  }
})

t.test(
  'a repeated cancellation is answered as the first one until that is committed, then as not pending',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const { id } = await f.order(1)
    const first = await f.engine.cancelOrder(id)
    t.same(await unchanged(t, f, () => f.engine.cancelOrder(id)), first)
    if (first.status !== 'cancelled') throw new Error(first.status)
    await f.engine.journal.dropEntries(0, [first.entry.entry_id], 1, { writer: 'w', commits: 1 })
    t.same(await unchanged(t, f, () => f.engine.cancelOrder(id)), { status: 'not_pending' })
  },
)

t.test('an order that is final is forgotten after some days, a pending one never', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const ttl_ms = (id: string) => f.redis.pttl(f.keys.id(0, 'order', id))
  const [cancelled, paid] = [await f.order(1), await f.order(1)]
  t.same([await ttl_ms(cancelled.id), await ttl_ms(paid.id)], [-1, -1])
  await f.engine.cancelOrder(cancelled.id)
  await f.engine.applyPayment(notice(paid.id, 'p1', 'success'), false)
  for (const { id } of [cancelled, paid]) {
    const days = (await ttl_ms(id)) / (24 * 3600 * 1000)
    t.ok(days > 2 && days <= 3, `${days} days`)
  }
})

t.test('an order past its pay_by that nothing swept can still be cancelled, once', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.order(1, { order_ttl_ms: 1 })
  t.match(await f.engine.cancelOrder(id), { status: 'cancelled', order: { cancel_reason: 'requested' } })
  t.same(await f.engine.expireOrders(0), [])
  await f.equation('at the end')
})

/** Cancellation, payment, time-out and a failed payment of one order at once. Answers who won. */
const ending = async (f: Fixture, rounds: number, change?: Change) => {
  await f.load(1, 1000)
  await f.order(500)
  const [a, b, c, d] = Array.from({ length: 4 }, () =>
    f.open({ own_connection: true, order_ttl_ms: 1, ...(change ? { change } : {}) }),
  )
  if (!a || !b || !c || !d) throw new Error('no engines')
  const winners: Array<{ status: string }> = []
  for (let round = 0; round < rounds; round += 1) {
    const hold = await f.hold(1)
    const made = await a.createOrder(hold.id, null)
    if (made.status !== 'created') throw new Error(made.status)
    await f.until(made.order.pay_by_ms)
    const steps = [
      () => a.cancelOrder(hold.id).then((answer) => answer.status === 'cancelled' && 'cancelled'),
      () =>
        b
          .applyPayment(notice(hold.id, `s${round}`, 'success'), false)
          .then((answer) => answer.status === 'applied' && 'paid'),
      () =>
        c.expireOrders(0).then((entries) => entries.some(({ order }) => order?.id === hold.id) && 'expired'),
      () =>
        d
          .applyPayment(notice(hold.id, `f${round}`, 'failed'), false)
          .then((answer) => answer.status === 'applied' && 'failed'),
    ]
    const turned = [...steps.slice(round % 4), ...steps.slice(0, round % 4)]
    const won = (await Promise.all(turned.map((step) => step()))).filter((winner) => winner !== false)
    winners.push({ status: won.sort().join(' + ') })
  }
  return count(winners)
}

t.test(
  'of a cancellation, a time-out, a failed payment and a success at once, each unit moves once',
  async (t) => {
    const f = await openFixture(t)
    const counts = await ending(f, 60)
    const allowed = ['cancelled', 'expired', 'failed', 'paid', 'expired + paid', 'failed + paid']
    t.same(
      Object.keys(counts).filter((winner) => !allowed.includes(winner)),
      [],
      `a late success may follow a time-out or a failure, nothing else: ${JSON.stringify(counts)}`,
    )
    t.equal(
      Object.values(counts).reduce((sum, won) => sum + won),
      60,
    )
    await f.equation('after the race')
  },
)

t.test('control: ends that do not look whether the order is pending give units back twice', async (t) => {
  const f = await openFixture(t)
  const is_pending = "return order.payment_status == 'pending' and order.order_status == 'pre-payment'"
  const counts = await ending(f, 10, [[is_pending, 'return true']])
  t.ok(
    Object.keys(counts).some((winner) => winner.includes('cancelled +')),
    JSON.stringify(counts),
  )
  const pending = (await f.stock())?.pending ?? 500
  t.ok(pending < 500, `orders for 500 units are pending, ${pending} are counted`)
})
