import t from 'tap'
import { markOf } from '../../src/engine/orders.ts'
import type { Order, Payment } from '../../src/engine/records.ts'
import { type Change, clockAt } from '../fixtures/change.ts'
import {
  type Fixture,
  idem,
  LONG_MS,
  notice,
  openFixture,
  refusedByFence,
  unchanged,
} from '../fixtures/redis.ts'

const DAY_MS = 24 * 3600 * 1000
/** An order of 2 units that Redis has forgotten while its units are counted: sold where it is paid, else pending. */
async function forget(f: Fixture, order: Partial<Order> = {}): Promise<Order> {
  const now = await f.now()
  const is_paid = order.payment_status === 'paid'
  const is_cancelled = order.order_status === 'cancelled'
  await f.load(1, 10, {}, { pending: is_paid || is_cancelled ? 0 : 2, sold: is_paid ? 2 : 0 })
  return {
    id: `AAAAAAAAAAAAAAAA${(now - 1000).toString(16).padStart(11, '0')}0`,
    history: '1-1,1-2,1-3',
    version: 3,
    payment_status: 'pending',
    order_status: 'pre-payment',
    cancel_reason: null,
    items: [{ product_id: 1, qty: 2, unit_amount: 700 }],
    amount: 1400,
    currency: 'USD',
    customer_id: 'Zoë|1',
    created_at_ms: now - 5000,
    pay_by_ms: now + LONG_MS,
    hold_created_at_ms: now - 9000,
    hold_expires_at_ms: now - 1000,
    idem: null,
    ...order,
  }
}
const seen = (order: Order, payment: Partial<Payment>): Payment => ({
  ...notice(order.id, 'p1', 'success'),
  outcome: 'applied',
  first_outcome: 'applied',
  reason: null,
  created_at_ms: order.created_at_ms,
  seq: 0,
  ...payment,
})

t.test('an order is not loaded with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  const order = await forget(f)
  await refusedByFence(t, f, (engine) => engine.loadOrder(0, order, []))
})

t.test('an order that Redis knows is left as it is', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const order = await f.order(2)
  const old = { ...order, history: '1-1,1-2,1-3,1-4', payment_status: 'paid' } as const
  await unchanged(t, f, () => f.engine.loadOrder(0, old, [seen(order, {})]))
})

t.test('a pending order comes back whole, moves no units, and can be paid', async (t) => {
  const f = await openFixture(t)
  const order = await forget(f)
  const stock = await f.stock()
  await f.engine.loadOrder(0, order, [])
  t.same(await f.engine.readOrder(order.id), order)
  t.same(await f.stock(), stock)
  const paid = await f.engine.applyPayment(notice(order.id, 'p1', 'success', { amount: 1400 }), false)
  t.match(paid, { status: 'applied', order: { version: 4, payment_status: 'paid', customer_id: 'Zoë|1' } })
  t.match(await f.stock(), { available: 8, pending: 0, sold: 2 })
})

t.test('a pending order comes back with its deadline, and times out at it', async (t) => {
  const f = await openFixture(t)
  const order = await forget(f)
  await f.engine.loadOrder(0, order, [])
  const due = f.open({ change: clockAt(order.pay_by_ms) })
  t.match(
    await due.expireOrders(0),
    [{ order: { ...order, version: 4, payment_status: 'failed' } }].map(
      ({ order: { order_status, cancel_reason, ...rest } }) => ({
        order: { ...rest, order_status: 'cancelled', cancel_reason: 'payment_timeout' },
      }),
    ),
  )
  t.match(await f.stock(), { available: 10, pending: 0 })
})

t.test('the hold of a loaded order is used, for every request that names it', async (t) => {
  const f = await openFixture(t)
  const order = await forget(f)
  await f.engine.loadOrder(0, order, [])
  t.match(await f.engine.createOrder(order.id, null), { status: 'already_used' })
  t.match(await f.engine.releaseHold(order.id), { status: 'already_used' })
  t.match(await f.engine.extendHold(order.id), { status: 'already_used' })
  t.match(await f.engine.readHold(order.id), { status: 'already_used', order })
})

t.test('a loaded order still knows the request that made it', async (t) => {
  const f = await openFixture(t)
  const order = await forget(f, { idem: markOf(idem('k')) })
  await f.engine.loadOrder(0, order, [])
  const again = await unchanged(t, f, () => f.engine.createOrder(order.id, idem('k')))
  t.same(again, { status: 'replayed', shard: 0, order, entry_id: '' })
  t.match(await f.engine.createOrder(order.id, idem('k', 'other')), { status: 'already_used' })
})

t.test('payments that a loaded order has seen are known again', async (t) => {
  const f = await openFixture(t)
  const order = await forget(f, { payment_status: 'paid', order_status: 'confirmed' })
  await f.engine.loadOrder(0, order, [
    seen(order, { idempotency_key: 'a|b', amount: 1400, currency: 'USD', first_outcome: 'parked' }),
    seen(order, { idempotency_key: 'p2', outcome: 'refund_due', first_outcome: 'refund_due' }),
  ])
  const paying = notice(order.id, 'a|b', 'success', { amount: 1400, currency: 'USD' })
  const again = await unchanged(t, f, () => f.engine.applyPayment(paying, false))
  t.same(again, { status: 'duplicate', shard: 0, first_outcome: 'parked', order, entry_id: '' })
  t.match(await f.engine.applyPayment({ ...paying, amount: 1 }, false), { status: 'key_reused' })
  t.match(await f.engine.applyPayment(notice(order.id, 'p2', 'success'), false), {
    first_outcome: 'refund_due',
  })
  t.match(await f.engine.applyPayment(notice(order.id, 'p3', 'success'), false), { status: 'refund_due' })
})

t.test('a final order is loaded for some days only; a pending one stays', async (t) => {
  const f = await openFixture(t)
  const pending = await forget(f)
  await f.engine.loadOrder(0, pending, [])
  const cancelled = { ...pending, order_status: 'cancelled', cancel_reason: 'requested' } as const
  const final: Order = { ...cancelled, id: `B${pending.id.slice(1)}` }
  await f.engine.loadOrder(0, final, [])
  t.equal(await f.redis.pttl(f.keys.id(0, 'order', pending.id)), -1)
  const ttl_ms = await f.redis.pttl(f.keys.id(0, 'order', final.id))
  t.ok(ttl_ms > 2 * DAY_MS && ttl_ms <= 3 * DAY_MS)
  t.same(await f.redis.zrange(f.keys.shard(0, 'deadlines'), '0', '-1'), [`${pending.id}|1`])
})

t.test('a late success confirms a loaded order whose payment failed', async (t) => {
  const f = await openFixture(t)
  const order = await forget(f, {
    payment_status: 'failed',
    order_status: 'cancelled',
    cancel_reason: 'payment_failed',
  })
  await f.engine.loadOrder(0, order, [seen(order, { idempotency_key: 'p0', status: 'failed' })])
  t.match(await f.engine.applyPayment(notice(order.id, 'p1', 'success'), false), {
    status: 'applied',
    order: { payment_status: 'paid', order_status: 'confirmed', cancel_reason: null },
  })
  t.match(await f.stock(), { available: 8, sold: 2 })
})

t.test('of many that load an order and pay for it at once, one payment is applied', async (t) => {
  const f = await openFixture(t)
  const order = await forget(f)
  const engines = Array.from({ length: 3 }, () => f.open({ own_connection: true }))
  const answers = await Promise.all(
    Array.from({ length: 30 }, async (_, at) => {
      const engine = engines[at % 3] ?? f.engine
      await engine.loadOrder(0, order, [])
      return (await engine.applyPayment(notice(order.id, 'p1', 'success'), false)).status
    }),
  )
  t.equal(answers.filter((status) => status === 'applied').length, 1)
  t.equal(answers.filter((status) => status === 'duplicate').length, 29)
  t.match(await f.stock(), { available: 8, sold: 2 })
})

t.test('control: an order that is loaded over the known one is paid twice', async (t) => {
  const f = await openFixture(t)
  const order = await forget(f)
  await f.engine.loadOrder(0, order, [])
  await f.engine.applyPayment(notice(order.id, 'p1', 'success'), false)
  const careless = f.open({
    change: [
      [
        "elseif redis.call('TYPE', keys.order).ok == 'hash' and has_order(keys.order) then",
        'elseif false then',
      ],
    ],
  })
  await careless.loadOrder(0, order, [])
  t.match(await f.engine.readOrder(order.id), { payment_status: 'pending' })
  t.equal(await f.redis.zcard(f.keys.shard(0, 'deadlines')), 1, 'and it would be cancelled at its pay_by')
})

/** Believes what any epoch has left. */
const TRUSTING: Change = [['return epoch == step_epoch', 'return epoch ~= false']]

t.test('an order of an earlier epoch is not there for anybody until it is loaded', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const order = await f.order(2)
  const trusting = await f.next({ change: TRUSTING })
  const next = f.open({ epoch: 2 })
  t.match(await trusting.readOrder(order.id), { id: order.id }, 'control: it stands there')
  t.equal(await next.readOrder(order.id), undefined)
  t.match(await trusting.createOrder(order.id, null), { status: 'already_used' }, 'control')
  for (const act of [
    () => next.createOrder(order.id, null),
    () => next.releaseHold(order.id),
    () => next.extendHold(order.id),
    () => next.readHold(order.id),
  ]) {
    t.match(await unchanged<{ status: string }>(t, f, act), { status: 'not_found' })
  }
  t.match(await next.cancelOrder(order.id), { status: 'unknown_order' })
  t.match(await next.applyPayment(notice(order.id, 'p1', 'success'), false), { status: 'unknown_order' })
  await next.loadOrder(0, order, [])
  t.same(await next.readOrder(order.id), order)
  await f.equation('at the end')
})

t.test('nothing of an earlier epoch is left in an order that is loaded', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const order = await f.order(2)
  await f.engine.applyPayment(notice(order.id, 'undone', 'success', { transaction_id: 'tx' }), false)
  const next = await f.next()
  await next.loadOrder(0, order, [])
  const fields = await f.redis.hkeys(f.keys.id(0, 'order', order.id))
  t.same(fields.sort(), ['epoch', 'order'])
  t.equal(await f.redis.pttl(f.keys.id(0, 'order', order.id)), -1, 'an unpaid one does not end by itself')
})

t.test('an order that is unpaid in one epoch, and was made in another, is paid once', async (t) => {
  const f = await openFixture(t)
  const order = await forget(f)
  await f.engine.loadOrder(0, order, [])
  const next = await f.next()
  await next.loadOrder(0, order, [])
  t.match(await next.applyPayment(notice(order.id, 'p1', 'success'), false), { status: 'applied' })
  t.match(await next.readOrder(order.id), { history: /^1-1,1-2,1-3,2-\d+$/ })
  t.match(await next.readProduct(1), { stock: { available: 8, pending: 0, sold: 2 } })
})
