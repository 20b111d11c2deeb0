import t from 'tap'
import type { Order } from '../../src/engine/records.ts'
import { type Fixture, LONG_MS, notice, openFixture } from '../fixtures/redis.ts'

const STEP = 125 // holds that one step takes back

/** An order in each state that the contract's table names; with one unit more, free to be taken again. */
const STATES: Record<string, (f: Fixture) => Promise<Order>> = {
  pending: (f) => f.order(1),
  paid: async (f) => {
    const order = await f.order(1)
    await f.engine.applyPayment(notice(order.id, `${order.id} paid`, 'success'), false)
    return order
  },
  failed: async (f) => {
    const order = await f.order(1)
    await f.engine.applyPayment(notice(order.id, `${order.id} failed`, 'failed'), false)
    return order
  },
  late: async (f) => {
    const order = await f.order(1, { order_ttl_ms: 1 })
    await f.engine.expireOrders(0)
    return order
  },
  cancelled: async (f) => {
    const order = await f.order(1)
    await f.engine.cancelOrder(order.id)
    return order
  },
}
const CONFIRMED = { payment_status: 'paid', order_status: 'confirmed', cancel_reason: null }
const FAILED = { payment_status: 'failed', order_status: 'cancelled', cancel_reason: 'payment_failed' }

for (const [state, success, failed] of [
  ['pending', { status: 'applied', order: CONFIRMED }, { status: 'applied', order: FAILED }],
  [
    'paid',
    { status: 'refund_due', reason: 'already_paid', order: CONFIRMED },
    { status: 'ignored', order: CONFIRMED },
  ],
  ['failed', { status: 'applied', order: CONFIRMED }, { status: 'ignored', order: FAILED }],
  [
    'late',
    { status: 'applied', order: CONFIRMED },
    { status: 'ignored', order: { ...FAILED, cancel_reason: 'payment_timeout' } },
  ],
  [
    'cancelled',
    {
      status: 'refund_due',
      reason: 'order_cancelled',
      order: { payment_status: 'pending', cancel_reason: 'requested' },
    },
    { status: 'ignored', order: { payment_status: 'pending', cancel_reason: 'requested' } },
  ],
] as const) {
  t.test(`a payment of an order that is ${state} has the effect that the contract names`, async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10, { max_per_customer: null })
    for (const [payment_status, wanted] of [
      ['success', success],
      ['failed', failed],
    ] as const) {
      const { id } = (await STATES[state]?.(f)) ?? { id: '' }
      const before = await f.engine.readOrder(id)
      for (const stated of [{ amount: 1 }, { currency: 'EUR' }, { amount: 9900, currency: 'usd' }]) {
        const key = `${id} wrong ${JSON.stringify(stated)}`
        const answer = await f.engine.applyPayment(notice(id, key, 'success', stated), false)
        t.match(answer, { status: 'refund_due', reason: 'amount_mismatch', entry: { order: null } })
        t.same(await f.engine.readOrder(id), before, 'the order is as it was')
      }
      const paying = notice(id, `${id} last`, payment_status, { amount: 9900, currency: 'USD' })
      const answer = await f.engine.applyPayment(paying, false)
      t.match(answer, wanted)
      const changed = wanted.status === 'applied'
      const after = await f.engine.readOrder(id)
      t.equal(after?.version, (before?.version ?? 0) + (changed ? 1 : 0))
      if ('entry' in answer) {
        t.same(answer.entry.order, changed ? after : null, 'the journal carries the order where it changed')
        t.same(await f.engine.journal.readEntry(0, answer.entry.entry_id), answer.entry)
      }
      await f.equation(`after ${payment_status} for an order that was ${state}`)
    }
  })
}

t.test(
  'a late success is due for refund when its units are gone, and takes those of dead holds first',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 1, { max_per_customer: 1 })
    const order = await f.order(1, { customer_id: 'ada', order_ttl_ms: 1 })
    await f.engine.expireOrders(0)
    const dead = await f.deadHold(1, 'bob')
    const late = await f.engine.applyPayment(notice(order.id, 'p1', 'success'), false)
    t.match(late, { status: 'applied', order: CONFIRMED })
    t.match(await f.engine.createOrder(dead.id, null), { status: 'expired' })
    await f.equation('after the late success')

    await f.load(2, 1)
    const second = await f.order([[2, 1]])
    await f.engine.applyPayment(notice(second.id, 'p2', 'failed'), false)
    await f.hold([[2, 1]])
    const gone = await f.engine.applyPayment(notice(second.id, 'p3', 'success'), false)
    t.match(gone, { status: 'refund_due', reason: 'no_units_left', entry: { order: null }, order: FAILED })
    t.match(await f.stock(2), { available: 0, held: 1, sold: 0 })
    await f.equation('after the refund')
  },
)

t.test('a late success for several products takes all of them or none', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 1)
  await f.load(2, 1)
  const order = await f.order([
    [1, 1],
    [2, 1],
  ])
  await f.engine.applyPayment(notice(order.id, 'p1', 'failed'), false)
  await f.hold([[2, 1]])
  t.match(await f.engine.applyPayment(notice(order.id, 'p2', 'success'), false), { reason: 'no_units_left' })
  t.match(await f.stock(1), { available: 1, sold: 0 })
  await f.equation('after it')
})

t.test(
  'a late success behind more dead holds than a step takes back is asked again, not refunded',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 1)
    await f.load(2, STEP)
    const order = await f.order(1)
    await f.engine.applyPayment(notice(order.id, 'p1', 'failed'), false)
    const short = f.open({ hold_ttl_ms: 1 })
    const dead = await Promise.all(Array.from({ length: STEP }, () => f.hold([[2, 1]], { engine: short })))
    await f.until(Math.max(...dead.map((hold) => hold.expires_at_ms)))
    await f.deadHold(1)
    const raw = await f.run('apply-payment', 0, {
      id: order.id,
      args: {
        id: order.id,
        may_park: 0,
        park_ttl_ms: LONG_MS,
        key_ttl_ms: LONG_MS,
        key: 'p2',
        payment_status: 'success',
        amount: '',
        currency: '',
        method: '',
        transaction: '',
        is_once: 0,
      },
      keys: [f.keys.payment(0, 'p2')],
    })
    t.same(raw, ['backlog'])
    t.same(Object.keys(await f.outcomes()), ['p1'], 'nothing has been decided')
    await f.equation('after the first step')
    t.match(await f.engine.applyPayment(notice(order.id, 'p2', 'success'), false), { status: 'applied' })
    await f.equation('at the end')
  },
)
