import t from 'tap'
import type { Payment } from '../../src/engine/records.ts'
import { LONG_MS, notice, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

const parked = (
  order_id: string,
  key: string,
  created_at_ms: number,
  own: Partial<Payment> = {},
): Payment => ({
  ...notice(order_id, key, 'success', { transaction_id: 'tx|1', payment_method: 'card' }),
  outcome: 'parked',
  first_outcome: 'parked',
  reason: null,
  created_at_ms,
  seq: 0,
  ...own,
})

t.test('a parked payment is not loaded with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id, created_at_ms } = await f.hold(1)
  await refusedByFence(t, f, (engine) => engine.loadParked(0, parked(id, 'p1', created_at_ms), 0))
})

t.test('loaded payments are applied in their order of arrival when their order comes', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id, created_at_ms } = await f.hold(1)
  await f.engine.loadParked(0, parked(id, 'p3', created_at_ms), 2)
  await f.engine.loadParked(0, parked(id, 'p1', created_at_ms, { amount: 9900, currency: 'USD' }), 0)
  await f.engine.loadParked(0, parked(id, 'p2', created_at_ms, { status: 'failed' }), 1)
  const answer = await f.engine.createOrder(id, null)
  t.match(answer, {
    order: { payment_status: 'paid' },
    entry: {
      payments: [
        { idempotency_key: 'p1', outcome: 'applied', amount: 9900, transaction_id: 'tx|1', created_at_ms },
        { idempotency_key: 'p2', outcome: 'ignored' },
        { idempotency_key: 'p3', outcome: 'refund_due', reason: 'already_paid' },
      ],
    },
  })
  await f.equation('at the end')
})

t.test('a loaded payment is known again', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id, created_at_ms } = await f.hold(1)
  await f.engine.loadParked(0, parked(id, 'p1', created_at_ms, { amount: 9900 }), 0)
  const paying = notice(id, 'p1', 'success', { amount: 9900 })
  const again = await unchanged(t, f, () => f.engine.applyPayment(paying, false))
  t.same(again, { status: 'duplicate', shard: 0, first_outcome: 'parked', order: null, entry_id: '' })
  t.match(await f.engine.applyPayment({ ...paying, amount: 1 }, false), { status: 'key_reused' })
})

t.test('a payment that Redis still has is left as it is', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id, created_at_ms } = await f.hold(1)
  await f.engine.applyPayment(notice(id, 'p1', 'success'), false)
  await unchanged(t, f, () => f.engine.loadParked(0, parked(id, 'p1', created_at_ms, { amount: 1 }), 7))
})

t.test('a loaded payment whose order never comes is given up when its time is over', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const dead = await f.deadHold(1)
  await f.engine.expireHolds(0)
  const long_ago = (await f.now()) - 4 * LONG_MS
  await f.engine.loadParked(0, parked(dead.id, 'p1', long_ago), 0)
  await f.engine.loadParked(0, parked(dead.id, 'p2', long_ago, { status: 'failed' }), 1)
  t.match(await f.engine.settleParked(0), [
    { payments: [{ outcome: 'refund_due', reason: 'order_never_came' }, { outcome: 'ignored' }] },
  ])
  await f.equation('at the end')
})

t.test('payments parked in an earlier epoch wait for nobody until they are loaded', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id, created_at_ms } = await f.hold(1)
  await f.engine.applyPayment(notice(id, 'p1', 'failed'), false)
  await f.engine.applyPayment(notice(id, 'p2', 'success', { transaction_id: 'tx' }), false)
  const next = await f.next()
  await next.loadParked(0, parked(id, 'p3', created_at_ms, { amount: 9900 }), 0)
  t.match(await next.applyPayment(notice(id, 'p2', 'success', { transaction_id: 'tx' }), false), {
    status: 'parked',
  })
  t.match(await next.createOrder(id, null), {
    order: { payment_status: 'paid' },
    entry: { payments: [{ idempotency_key: 'p3' }, { idempotency_key: 'p2', reason: 'already_paid' }] },
  })
  await f.equation('at the end')
})

t.test('control: where those of every epoch count, an order is cancelled by what was undone', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  await f.engine.applyPayment(notice(id, 'p1', 'failed'), false)
  const trusting = await f.next({ change: [['is_of_this_epoch(payment.epoch)', 'true']] })
  t.match(await trusting.createOrder(id, null), { order: { order_status: 'cancelled' } })
})
