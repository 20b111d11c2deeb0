import t from 'tap'
import { clockAt } from '../fixtures/change.ts'
import { LONG_MS, notice, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

const CONFIRMED = { payment_status: 'paid', order_status: 'confirmed', cancel_reason: null }

t.test('a payment is refused with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const order = await f.order(1)
  const hold = await f.hold(1)
  for (const { id } of [order, hold]) {
    await refusedByFence(t, f, (engine) => engine.applyPayment(notice(id, 'p1', 'success'), true))
  }
})

t.test(
  'a key that paid for one order is refused for another, be that an order, a hold or nothing',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const [order, other, hold, released] = [
      await f.order(1),
      await f.order(1),
      await f.hold(1),
      await f.hold(1),
    ]
    await f.engine.releaseHold(released.id)
    await f.engine.applyPayment(notice(order.id, 'p1', 'success'), false)
    await f.engine.applyPayment(notice((await f.hold(1)).id, 'p2', 'success'), false)
    for (const id of [other.id, hold.id, released.id, `AAAAAAAAAAAAAAAA${hold.id.slice(16)}`]) {
      for (const key of ['p1', 'p2']) {
        const again = await unchanged(t, f, () => f.engine.applyPayment(notice(id, key, 'success'), true))
        t.same(again, { status: 'key_reused' }, key)
      }
    }
  },
)

t.test('a key is refused with another status, amount or currency, before and after its order', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const stated = { amount: 9900, currency: 'USD' }
  const { id } = await f.hold(1)
  await f.engine.applyPayment(notice(id, 'p1', 'success', stated), false)
  const refused = async () => {
    for (const other of [
      notice(id, 'p1', 'failed', stated),
      notice(id, 'p1', 'success', { ...stated, amount: 9901 }),
      notice(id, 'p1', 'success', { ...stated, currency: 'EUR' }),
      notice(id, 'p1', 'success', { amount: 9900 }),
      notice(id, 'p1', 'success'),
    ]) {
      const again = await unchanged(t, f, () => f.engine.applyPayment(other, true))
      t.same(again, { status: 'key_reused' })
    }
  }
  await refused()
  await f.engine.createOrder(id, null)
  await refused()
  await f.equation('at the end')
})

t.test('a repeated payment is answered with its first outcome and has no effect', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const order = await f.order(1)
  const paying = notice(order.id, 'p1', 'success', { amount: 9900, payment_method: 'card' })
  const first = await f.engine.applyPayment(paying, false)
  const second = await f.engine.applyPayment(notice(order.id, 'p2', 'success'), false)
  const third = await f.engine.applyPayment(notice(order.id, 'p3', 'failed'), false)
  if (!('entry' in first && 'entry' in second && 'entry' in third)) throw new Error('not all applied')
  for (const [key, status, answer] of [
    ['p2', 'success', second],
    ['p3', 'failed', third],
  ] as const) {
    const again = await unchanged(t, f, () => f.engine.applyPayment(notice(order.id, key, status), false))
    t.same(again, {
      status: 'duplicate',
      shard: 0,
      first_outcome: answer.status,
      order: first.order,
      entry_id: answer.entry.entry_id,
    })
  }
  const delivered = { ...paying, payment_method: 'other', transaction_id: 'tx_2' }
  t.match(await f.engine.applyPayment(delivered, false), { status: 'duplicate', first_outcome: 'applied' })
  await f.engine.journal.dropEntries(0, [first.entry.entry_id], 1, { writer: 'w', commits: 1 })
  await f.redis.del(f.keys.payment(0, 'p1'))
  t.match(
    await f.engine.applyPayment(paying, false),
    { status: 'duplicate', first_outcome: 'applied', entry_id: '' },
    'the order remembers its payments by itself',
  )
  await f.equation('at the end')
})

t.test(
  'an order that is neither here nor held is asked for in PostgreSQL before a payment is parked',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const dead = await f.deadHold(1)
    const { id, expires_at_ms } = await f.hold(1)
    await f.engine.releaseHold(id)
    const never = `AAAAAAAAAAAAAAAA${id.slice(16)}`
    for (const order_id of [dead.id, id, never]) {
      for (const status of ['success', 'failed'] as const) {
        const answer = await unchanged(t, f, () =>
          f.engine.applyPayment(notice(order_id, `${order_id}${status}`, status), false),
        )
        t.same(answer, { status: 'unknown_order' })
      }
    }
    const parked = await f.engine.applyPayment(notice(never, 'p1', 'success'), true)
    t.match(parked, { status: 'parked', order: null, entry: { payments: [{ outcome: 'parked' }] } })
    const again = await unchanged(t, f, () => f.engine.applyPayment(notice(never, 'p1', 'success'), false))
    t.match(again, { status: 'duplicate', first_outcome: 'parked', order: null })
    const deadlineOf = async (order_id: string) =>
      Number(await f.redis.zscore(f.keys.shard(0, 'parked'), order_id))
    t.ok((await deadlineOf(never)) > expires_at_ms, 'it waits for longer than any hold can live')
    await f.engine.applyPayment(notice(id, 'p2', 'success'), true)
    t.ok((await deadlineOf(id)) <= (await f.now()), 'one for a released hold is due at once')
    await f.equation('at the end')
  },
)

t.test(
  'a payment for a live hold is parked at once, and a success keeps the hold from expiring',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    for (const [name, status, stated, lives] of [
      ['a success', 'success', {}, true],
      ['a success with the right amount', 'success', { amount: 19800, currency: 'USD' }, true],
      ['a failure', 'failed', {}, false],
      ['a success with another amount', 'success', { amount: 19801 }, false],
      ['a success in another currency', 'success', { currency: 'EUR' }, false],
    ] as const) {
      const hold = await f.hold(2)
      const parked = await f.engine.applyPayment(notice(hold.id, name, status, stated), false)
      t.match(parked, { status: 'parked', reason: null, order: null })
      await f.equation(`after ${name} was parked`)
      const later = f.open({ change: clockAt(hold.expires_at_ms + 1) })
      t.equal((await later.readHold(hold.id)).status, lives ? 'live' : 'expired', name)
      t.match(await later.expireHolds(0), { count: lives ? 0 : 1 })
      const made = (await later.orderPrepaid(0)).map(({ order }) => [order?.id, order?.payment_status])
      t.same(made, lives ? [[hold.id, 'paid']] : [])
      await f.equation(`at the end of ${name}`)
    }
  },
)

t.test('a wrong success does not stand in the way of a right one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const hold = await f.hold(1)
  await f.engine.applyPayment(notice(hold.id, 'p1', 'failed'), false)
  await f.engine.applyPayment(notice(hold.id, 'p2', 'success', { amount: 1 }), false)
  await f.engine.applyPayment(notice(hold.id, 'p3', 'success', { amount: 9900 }), false)
  const later = f.open({ change: clockAt(hold.expires_at_ms) })
  t.match(await later.createOrder(hold.id, null), { status: 'created', order: { payment_status: 'paid' } })
  t.match(await f.outcomes(), {
    p1: { outcome: 'applied' },
    p2: { outcome: 'refund_due', reason: 'amount_mismatch' },
    p3: { outcome: 'applied' },
  })
  await f.equation('at the end')
})

t.test('a failed payment gives the units back long after the hold is gone', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 2, { max_per_customer: 2 })
  const order = await f.order(2, { customer_id: 'ada' })
  const later = f.open({ change: clockAt(order.hold_expires_at_ms + LONG_MS) })
  await later.expireHolds(0)
  t.match(await later.applyPayment(notice(order.id, 'p1', 'failed'), false), { status: 'applied' })
  t.match(await f.stock(), { available: 2, pending: 0 })
  await f.equation('after the failure')
  await f.hold(2, { customer_id: 'ada' })
})

t.test('a key may contain anything', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  for (const key of [
    'a|b|c|d|e',
    'payment:1',
    '"quoted"',
    'Zoë ✓ 漢字',
    'a\nb',
    'status',
    '__proto__',
    'x'.repeat(255),
  ]) {
    const { id } = await f.hold(1)
    const paying = notice(id, key, 'success', { transaction_id: `tx ${key}`, payment_method: key })
    t.match(await f.engine.applyPayment(paying, false), { status: 'parked' })
    t.match(await f.engine.applyPayment(paying, false), { status: 'duplicate', first_outcome: 'parked' })
    const made = await f.engine.createOrder(id, null)
    t.match(made, {
      order: CONFIRMED,
      entry: { payments: [{ ...paying, outcome: 'applied', first_outcome: 'parked' }] },
    })
    t.match(await f.engine.applyPayment(paying, false), { status: 'duplicate', first_outcome: 'parked' })
    t.match(await f.engine.applyPayment({ ...paying, status: 'failed' }, false), { status: 'key_reused' })
  }
  await f.equation('at the end')
})

t.test(
  'of the notices that announce one transaction the first counts, where the sender says so',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const stated = { transaction_id: 'tx|1:é', amount: 9900 }
    for (const is_early of [true, false]) {
      const { id } = await f.hold(1)
      if (!is_early) await f.engine.createOrder(id, null)
      const first = is_early ? 'parked' : 'applied'
      const send = (key: string, status: 'success' | 'failed', own = {}) =>
        f.engine.applyPayment(notice(id, `${id} ${key}`, status, { ...stated, is_once: true, ...own }), false)
      t.match(await send('charge', 'success'), { status: first })
      const again = await unchanged(t, f, () => send('checkout', 'success', { amount: null }))
      t.match(again, { status: 'duplicate', first_outcome: first })
      t.match(await unchanged(t, f, () => send('checkout', 'success')), { status: 'duplicate' })
      if (is_early) await f.engine.createOrder(id, null)
      t.match(await unchanged(t, f, () => send('checkout', 'success')), {
        status: 'duplicate',
        first_outcome: first,
        order: CONFIRMED,
      })
      t.match(await send('other', 'success', { transaction_id: 'tx2' }), {
        status: 'refund_due',
        reason: 'already_paid',
      })
      t.match(await send('attempt', 'failed'), { status: 'ignored' }, 'a failed attempt is another thing')
      t.match(await send('each', 'success', { is_once: false }), { status: 'refund_due' })
      t.match(await send('nameless', 'success', { transaction_id: null }), { status: 'refund_due' })
      await f.equation('at the end')
    }
  },
)

t.test(
  'one transaction that failed and then succeeded is two things, and one without a name is none',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const { id } = await f.hold(1)
    const send = (key: string, status: 'success' | 'failed', transaction_id: string | null) =>
      f.engine.applyPayment(notice(id, key, status, { transaction_id, is_once: true }), false)
    t.match(await send('p1', 'failed', 'tx'), { status: 'parked' })
    t.match(await send('p2', 'failed', 'tx'), { status: 'duplicate' })
    t.match(await send('p3', 'success', 'tx'), { status: 'parked' })
    t.match(await send('p4', 'success', 'tx2'), { status: 'parked' })
    t.match(await send('p5', 'success', null), { status: 'parked' })
    t.match(await send('p6', 'success', null), { status: 'parked' })
    await f.engine.createOrder(id, null)
    t.match(await f.outcomes(), {
      p1: { outcome: 'applied' },
      p3: { outcome: 'applied' },
      p4: { outcome: 'refund_due' },
      p5: { outcome: 'refund_due' },
      p6: { outcome: 'refund_due' },
    })
    await f.equation('at the end')
  },
)
