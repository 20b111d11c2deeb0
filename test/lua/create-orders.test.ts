import t from 'tap'
import { type Change, clockAt } from '../fixtures/change.ts'
import {
  count,
  type Fixture,
  idem,
  notice,
  openFixture,
  refusedByFence,
  unchanged,
} from '../fixtures/redis.ts'

t.test('an order is refused with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  await refusedByFence(t, f, (engine) => engine.createOrder(id, null))
})

t.test('an order is refused for the first reason that applies, and a refusal changes nothing', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  const first = await f.engine.createOrder(id, idem('k'))
  const released = await f.hold(1)
  await f.engine.releaseHold(released.id)
  const dead = await f.deadHold(1)
  const never = `AAAAAAAAAAAAAAAA${id.slice(16)}`
  const refused = async (order_id: string, key: ReturnType<typeof idem> | null, status: string) => {
    t.match(await unchanged(t, f, () => f.engine.createOrder(order_id, key)), { status })
    await f.equation(`after ${status}`)
  }
  for (const any of [id, released.id, never, dead.id]) {
    await refused(any, idem('k', 'another body'), 'key_reused')
  }
  await refused(id, idem('k'), 'replayed')
  t.match(first, { status: 'created' })
  for (const key of [null, idem('other')]) {
    await refused(id, key, 'already_used')
    await refused(released.id, key, 'released')
    await refused(never, key, 'not_found')
    await refused(dead.id, key, 'expired')
  }
  await f.engine.expireHolds(0)
  await refused(dead.id, null, 'expired')
})

t.test('a hold becomes a pending order with its price, its customer and its id', async (t) => {
  const f = await openFixture(t, { order_ttl_ms: 900_000 })
  await f.load(1, 10, { unit_amount: 700 })
  await f.load(2, 10, { unit_amount: 5 })
  const hold = await f.hold(
    [
      [1, 2],
      [2, 3],
    ],
    { customer_id: 'ada|1' },
  )
  const answer = await f.engine.createOrder(hold.id, null)
  if (answer.status !== 'created') throw new Error(answer.status)
  const { order, entry } = answer
  t.match(order, {
    id: hold.id,
    version: 1,
    payment_status: 'pending',
    order_status: 'pre-payment',
    cancel_reason: null,
    items: hold.items,
    amount: 1415,
    currency: 'USD',
    customer_id: 'ada|1',
    hold_created_at_ms: hold.created_at_ms,
    hold_expires_at_ms: hold.expires_at_ms,
  })
  t.equal(order.pay_by_ms - order.created_at_ms, 900_000)
  t.match(await f.stock(1), { available: 8, held: 0, pending: 2, sold: 0 })
  t.match(await f.stock(2), { available: 7, held: 0, pending: 3, sold: 0 })
  t.same(await f.engine.journal.readEntry(0, entry.entry_id), entry, 'the journal carries the whole order')
  t.same(await f.engine.readOrder(hold.id), order)
  await f.equation('after the order')
})

t.test('the last unit can be ordered by who holds it, and by nobody else', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 1)
  const { id } = await f.hold(1)
  t.match(await f.place(1), { status: 'insufficient_stock' })
  t.match(await f.engine.createOrder(id, null), { status: 'created' })
  t.match(await f.place(1), { status: 'insufficient_stock' })
  await f.equation('with the last unit in an order')
})

t.test(
  'a hold may become an order at its own price though the sale was paused, ended or made dearer',
  async (t) => {
    const f = await openFixture(t)
    const limited = { max_per_customer: 4 }
    await f.load(1, 10, limited)
    const ended = { ends_at_ms: (await f.now()) - 1, unit_amount: 1, max_per_hold: 1, max_per_customer: 1 }
    const [first, second] = [await f.hold(2, { customer_id: 'ada' }), await f.hold(2, { customer_id: 'bob' })]
    await f.load(1, 10, { ...limited, paused: true, unit_amount: 990_000 })
    t.match(await f.place(1), { status: 'sale_paused' })
    t.match(await f.engine.createOrder(first.id, null), { status: 'created', order: { amount: 19800 } })
    await f.load(1, 10, ended)
    t.match(await f.place(1), { status: 'sale_ended' })
    t.match(await f.engine.createOrder(second.id, null), { status: 'created', order: { amount: 19800 } })
  },
)

t.test('at expires_at an order comes too late, a millisecond before in time, swept or not', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const [late, in_time, swept] = [await f.hold(1), await f.hold(1), await f.hold(1)]
  const at = (moment_ms: number) => f.open({ change: clockAt(moment_ms) })
  const too_late = at(late.expires_at_ms)
  t.same(await unchanged(t, f, () => too_late.createOrder(late.id, null)), { status: 'expired' })
  const last = at(in_time.expires_at_ms - 1)
  t.match(await last.createOrder(in_time.id, null), { status: 'created' })
  await at(swept.expires_at_ms).expireHolds(0)
  t.same(await at(swept.expires_at_ms).createOrder(swept.id, null), { status: 'expired' })
  await f.equation('at the end')
})

t.test('an expired hold whose units another buyer took cannot be ordered', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 1)
  const dead = await f.deadHold(1)
  const { id } = await f.hold(1)
  t.same(await unchanged(t, f, () => f.engine.createOrder(dead.id, null)), { status: 'expired' })
  t.match(await f.engine.createOrder(id, null), { status: 'created' })
  await f.equation('at the end')
})

t.test(
  'the same key is answered with the same order, and with its journal entry until that is committed',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const { id } = await f.hold(1)
    const first = await f.engine.createOrder(id, idem('k'))
    if (first.status !== 'created') throw new Error(first.status)
    const { order, entry } = first
    await f.engine.applyPayment(notice(id, 'p1', 'success'), false)
    const again = await unchanged(t, f, () => f.engine.createOrder(id, idem('k')))
    t.same(again, { status: 'replayed', shard: 0, order, entry_id: entry.entry_id })
    await f.engine.journal.dropEntries(0, [entry.entry_id], 1, { writer: 'w', commits: 1 })
    t.same(await f.engine.createOrder(id, idem('k')), { status: 'replayed', shard: 0, order, entry_id: '' })
  },
)

t.test('an order knows the request that made it, should Redis have lost the key', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  await f.engine.createOrder(id, idem('k|1'))
  const paid = await f.engine.applyPayment(notice(id, 'p1', 'success'), false)
  await f.redis.del(f.keys.idem(0, 'test', 'k|1'))
  const again = await unchanged(t, f, () => f.engine.createOrder(id, idem('k|1')))
  t.same(again, {
    status: 'replayed',
    shard: 0,
    order: 'order' in paid && paid.order,
    entry_id: 'entry' in paid && paid.entry.entry_id,
  })
  for (const key of [idem('k|1', 'another body'), idem('other'), null]) {
    t.same(await unchanged(t, f, () => f.engine.createOrder(id, key)), { status: 'already_used' })
  }
  const unkeyed = await f.order(1)
  t.same(await f.engine.createOrder(unkeyed.id, idem('k|1')), { status: 'already_used' })
})

t.test('a refused order leaves its key free', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const dead = await f.deadHold(1)
  const { id } = await f.hold(1)
  t.match(await f.engine.createOrder(dead.id, idem('k')), { status: 'expired' })
  t.match(await f.engine.createOrder(id, idem('k', 'other')), { status: 'created' })
})

t.test('payments that came before their order are applied in their order of arrival', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  for (let at = 0; at < 12; at += 1) await f.engine.applyPayment(notice(id, `failed ${at}`, 'failed'), false)
  await f.engine.applyPayment(notice(id, 'wrong', 'success', { amount: 1 }), false)
  await f.engine.applyPayment(notice(id, 'right', 'success', { amount: 9900, currency: 'USD' }), false)
  await f.engine.applyPayment(notice(id, 'twice', 'success'), false)
  const answer = await f.engine.createOrder(id, null)
  if (answer.status !== 'created') throw new Error(answer.status)
  t.match(answer.order, {
    version: 1,
    payment_status: 'paid',
    order_status: 'confirmed',
    cancel_reason: null,
  })
  t.same(
    answer.entry.payments.map((payment) => [payment.idempotency_key, payment.outcome, payment.reason]),
    [
      ['failed 0', 'applied', null],
      ...Array.from({ length: 11 }, (_, at) => [`failed ${at + 1}`, 'ignored', null]),
      ['wrong', 'refund_due', 'amount_mismatch'],
      ['right', 'applied', null],
      ['twice', 'refund_due', 'already_paid'],
    ],
  )
  t.ok(answer.entry.payments.every((payment) => payment.first_outcome === 'parked'))
  t.match(await f.stock(), { available: 9, sold: 1 })
  t.equal(await f.redis.zcard(f.keys.shard(0, 'parked')), 0)
  t.equal(await f.redis.exists(f.keys.id(0, 'parked_payments', id)), 0)
  const again = await unchanged(t, f, () => f.engine.applyPayment(notice(id, 'twice', 'success'), false))
  t.match(again, { status: 'duplicate', first_outcome: 'parked', entry_id: answer.entry.entry_id })
  await f.equation('at the end')
})

t.test('a failure that came before the order ends it at once, and its customer may buy again', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 2, { max_per_customer: 2 })
  const { id } = await f.hold(2, { customer_id: 'ada' })
  await f.engine.applyPayment(notice(id, 'p1', 'failed'), false)
  t.match(await f.engine.createOrder(id, null), {
    status: 'created',
    order: {
      version: 1,
      payment_status: 'failed',
      order_status: 'cancelled',
      cancel_reason: 'payment_failed',
    },
  })
  t.same(await f.engine.expireOrders(0), [])
  await f.equation('after the order')
  await f.hold(2, { customer_id: 'ada' })
})

t.test('a paid hold becomes a paid order after its end', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 1)
  const hold = await f.hold(1)
  await f.engine.applyPayment(notice(hold.id, 'p1', 'success'), false)
  const later = f.open({ change: clockAt(hold.expires_at_ms + 60_000) })
  t.match(await later.expireHolds(0), { count: 0 })
  t.match(await later.orderPrepaid(0), [{ order: { id: hold.id, payment_status: 'paid' } }])
  t.same(await later.orderPrepaid(0), [])
  t.match(await f.stock(), { available: 0, sold: 1 })
  await f.equation('at the end')
})

const ordering = async (f: Fixture, key: string | null, change?: Change) => {
  await f.load(1, 100)
  await f.hold(60)
  const { id } = await f.hold(1)
  const engines = Array.from({ length: 3 }, () =>
    f.open({ own_connection: true, ...(change ? { change } : {}) }),
  )
  return Promise.all(
    Array.from({ length: 60 }, (_, at) => engines[at % 3]?.createOrder(id, key ? idem(key) : null)),
  ).then((answers) => answers.flatMap((answer) => answer ?? []))
}

t.test('of 60 requests for one hold at once, one becomes its order', async (t) => {
  const f = await openFixture(t)
  t.same(count(await ordering(f, null)), { created: 1, already_used: 59 })
  t.match(await f.stock(), { available: 39, held: 60, pending: 1 })
  await f.equation('after them')
})

t.test('60 requests with one key at once make one order, and every answer is that order', async (t) => {
  const f = await openFixture(t)
  const answers = await ordering(f, 'k')
  t.same(count(answers), { created: 1, replayed: 59 })
  const orders = answers.map((answer) => ('order' in answer ? answer.order : undefined))
  t.ok(orders.every((order) => JSON.stringify(order) === JSON.stringify(orders[0])))
  await f.equation('after them')
})

t.test('control: an order that leaves its hold in place sells units of other holds', async (t) => {
  const f = await openFixture(t)
  const drops = 'remove_hold(own, request.hold)\n'
  const guard = "redis.call('EXISTS', own.order) == 1"
  const answers = await ordering(f, null, [
    [drops, ''],
    [guard, 'false'],
  ])
  t.ok((count(answers).created ?? 0) > 1, `${count(answers).created} orders from one hold`)
})

t.test('requests that come together are answered each for itself and in their order', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 20)
  const [first, second, third, fourth] = [await f.hold(1), await f.hold(2), await f.hold(3), await f.hold(4)]
  const released = await f.hold(1)
  await f.engine.releaseHold(released.id)
  await f.engine.createOrder(first.id, idem('old'))
  const never = `AAAAAAAAAAAAAAAA${first.id.slice(16)}`
  const answers = await Promise.all([
    f.engine.createOrder(second.id, null),
    f.engine.createOrder(never, null),
    f.engine.createOrder(first.id, idem('old')),
    f.engine.createOrder(third.id, idem('old', 'another body')),
    f.engine.createOrder(second.id, idem('another')),
    f.engine.createOrder(third.id, idem('new')),
    f.engine.createOrder(released.id, null),
    f.engine.createOrder(third.id, idem('new')),
    f.engine.createOrder(fourth.id, idem('new', 'another body')),
    f.engine.createOrder(fourth.id, null),
  ])
  t.same(
    answers.map(({ status }) => status),
    [
      ...[
        'created',
        'not_found',
        'replayed',
        'key_reused',
        'already_used',
        'created',
        'released',
        'replayed',
      ],
      ...['key_reused', 'created'],
    ],
  )
  const [, , , , , made, , again] = answers
  t.same('order' in (again ?? {}) && again, { ...again, order: made && 'order' in made ? made.order : null })
  t.match(await f.stock(), { available: 10, held: 0, pending: 10 })
  await f.equation('after the batch')
})

t.test('a hold that can not be read fails none of those that come with it', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const [broken, ...others] = await Promise.all(Array.from({ length: 5 }, () => f.hold(1)))
  const holds = f.keys.shard(0, 'holds')
  const member = (await f.redis.zrange(holds, '0', '-1')).find((it) => it.startsWith(broken?.id ?? '-')) ?? ''
  const score = await f.redis.zscore(holds, member)
  await f.redis
    .multi()
    .zrem(holds, member)
    .zadd(holds, score ?? '', `${broken?.id}|nonsense`)
    .exec()
  const ends = await Promise.allSettled(
    [broken, ...others].map((hold) => f.engine.createOrder(hold?.id ?? '', null)),
  )
  t.same(
    ends.map((end) => (end.status === 'fulfilled' ? end.value.status : 'rejected')),
    ['rejected', 'created', 'created', 'created', 'created'],
  )
  t.match(await f.stock(), { available: 5, held: 1, pending: 4 }, 'and nothing was half done')
  t.match(f.alarms.join(), /no readable record/)
})

t.test('the result of a key that was used in an earlier epoch is for PostgreSQL to confirm', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const first = await f.hold(1)
  await f.engine.createOrder(first.id, idem('k'))
  const second = await f.hold(1)
  const next = await f.next()
  const earlier = await unchanged(t, f, () => next.createOrder(first.id, idem('k')))
  t.match(earlier, { status: 'earlier', order: { id: first.id, order_status: 'pre-payment' } })
  t.match(await next.createOrder(second.id, idem('k', 'other')), {
    status: 'earlier',
    order: { id: first.id },
  })
  t.match(await next.createOrder(second.id, idem('k', 'other'), 'another'), { status: 'earlier' })

  const made = await next.createOrder(second.id, idem('k', 'other'), first.id)
  t.match(made, { status: 'created', order: { id: second.id } }, 'an order that is not there has used no key')
  t.match(await next.createOrder(second.id, idem('k', 'other')), {
    status: 'replayed',
    order: { id: second.id },
  })
  t.match(await next.createOrder(first.id, idem('k'), first.id), { status: 'key_reused' }, 'the new one has')
})

t.test('control: one who believes results of every epoch tells of an order that is not there', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  await f.engine.createOrder(id, idem('k'))
  const trusting = await f.next({
    change: [["is_of_this_epoch(string.match(record, '^[^|]*|(%d+)%-'))", 'true']],
  })
  t.match(await trusting.createOrder(id, idem('k')), { status: 'replayed' })
  t.equal(await trusting.readOrder(id), undefined)
})
