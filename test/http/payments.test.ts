import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import type { OrderBody, StockBody } from '../fixtures/resources.ts'

const app = await build(t)
const PAID = { payment_status: 'paid', order_status: 'confirmed', cancel_reason: null }
const FAILED = { payment_status: 'failed', order_status: 'cancelled', cancel_reason: 'payment_failed' }

type Row = { outcome: string; reason: string | null; status: string; first_outcome: string }
/** The payment as PostgreSQL has it at this moment. */
const row = async (key: string) =>
  (
    await app.sql<Row>(
      'select outcome, first_outcome, reason, status from payments where idempotency_key = $1',
      [key],
    )
  )[0]

/** A pending order of two units of a product that has ten. */
async function pending(): Promise<{ id: number; order: OrderBody }> {
  const id = await app.product(10)
  return { id, order: await app.order(await app.hold(id, 2)) }
}

/** Brings an order into a state. */
const states: Record<string, (order: OrderBody) => Promise<unknown>> = {
  pending: async () => {},
  paid: ({ order_id }) => app.paid(order_id, 'success'),
  'cancelled after a failed payment': ({ order_id }) => app.paid(order_id, 'failed'),
  'cancelled on request': ({ order_id }) => app.call('DELETE', `/api/orders/${order_id}`),
}

type Cell = {
  state: string
  status: 'success' | 'failed'
  outcome: string
  order: Partial<OrderBody>
  stock: Partial<StockBody>
  reason?: string
}
const REQUESTED = { payment_status: 'pending', order_status: 'cancelled', cancel_reason: 'requested' }
const FREE = { available: 10, pending: 0, sold: 0 }
const SOLD = { available: 8, pending: 0, sold: 2 }

const TABLE: Cell[] = [
  { state: 'pending', status: 'success', outcome: 'applied', order: PAID, stock: SOLD },
  { state: 'pending', status: 'failed', outcome: 'applied', order: FAILED, stock: FREE },
  {
    state: 'paid',
    status: 'success',
    outcome: 'refund_due',
    order: PAID,
    stock: SOLD,
    reason: 'already_paid',
  },
  { state: 'paid', status: 'failed', outcome: 'ignored', order: PAID, stock: SOLD },
  {
    state: 'cancelled after a failed payment',
    status: 'success',
    outcome: 'applied',
    order: PAID,
    stock: SOLD,
  },
  {
    state: 'cancelled after a failed payment',
    status: 'failed',
    outcome: 'ignored',
    order: FAILED,
    stock: FREE,
  },
  {
    state: 'cancelled on request',
    status: 'success',
    outcome: 'refund_due',
    reason: 'order_cancelled',
    order: REQUESTED,
    stock: FREE,
  },
  { state: 'cancelled on request', status: 'failed', outcome: 'ignored', order: REQUESTED, stock: FREE },
]

for (const cell of TABLE) {
  t.test(`${cell.status} for an order that is ${cell.state}: ${cell.outcome}`, async (t) => {
    const { id, order } = await pending()
    await states[cell.state]?.(order)
    const key = newKey()
    const reply = await app.pay(order.order_id, cell.status, {}, key)
    t.equal(reply.status, 200)
    const reason = cell.reason ? { reason: cell.reason } : {}
    t.same(reply.body, { data: { outcome: cell.outcome, ...reason, order: { ...order, ...cell.order } } })
    t.same(await app.readOrder(order.order_id), { ...order, ...cell.order })
    t.match(await app.stock(id), cell.stock)
    t.match(await row(key), {
      outcome: cell.outcome,
      first_outcome: cell.outcome,
      reason: cell.reason ?? null,
    })

    const again = await app.pay(order.order_id, cell.status, {}, key)
    t.equal(again.status, 200)
    t.match(again.body, { data: { outcome: 'duplicate', first_outcome: cell.outcome, order: cell.order } })
    t.match(await app.stock(id), cell.stock, 'the same key again has no effect')
    await app.agree(t, 'in the end')
  })
}

t.test('a late success for an order whose units are gone is due for refund', async (t) => {
  const id = await app.product(2)
  const order = await app.order(await app.hold(id, 2))
  await app.paid(order.order_id, 'failed')
  await app.hold(id, 1)
  t.match(await app.paid(order.order_id, 'success'), {
    outcome: 'refund_due',
    reason: 'no_units_left',
    order: FAILED,
  })
  t.match(await app.stock(id), { available: 1, held: 1, sold: 0 })
})

t.test('of two late payments for one unit one is applied and one is due for refund', async (t) => {
  const id = await app.product(1)
  const orders: OrderBody[] = []
  for (let count = 0; count < 2; count += 1) {
    const order = await app.order(await app.hold(id))
    await app.paid(order.order_id, 'failed')
    orders.push(order)
  }
  const answers = await Promise.all(orders.map(({ order_id }) => app.paid(order_id, 'success')))
  t.same(answers.map(({ outcome }) => outcome).toSorted(), ['applied', 'refund_due'])
  t.match(await app.stock(id), { available: 0, sold: 1 })
  await app.agree(t, 'after both')
})

t.test('a late success takes the units of dead holds, without any sweeper', async (t) => {
  const id = await app.product(1, { hold_ttl_ms: 1 })
  const order = await app.order(await holdForever(id))
  await app.paid(order.order_id, 'failed')
  await app.hold(id)
  await wait(5)
  t.match(await app.paid(order.order_id, 'success'), { outcome: 'applied' })
  t.match(await app.stock(id), { available: 0, held: 0, sold: 1 })
})

/** A hold that outlives the TTL of its product. */
async function holdForever(id: number) {
  const key = app.engine.keys.shard(0, 'products')
  const ttl_ms = await app.redis.hget(key, `${id}:hold_ttl_ms`)
  await app.redis.hset(key, `${id}:hold_ttl_ms`, 60_000)
  const hold = await app.hold(id)
  await app.redis.hset(key, `${id}:hold_ttl_ms`, ttl_ms ?? '')
  return hold
}

t.test('money of another amount or currency is due for refund and leaves the order as it is', async (t) => {
  for (const stated of [
    { amount: 19_799 },
    { amount: 0 },
    { currency: 'EUR' },
    { amount: 19_800, currency: 'CHF' },
  ]) {
    const { id, order } = await pending()
    t.match(await app.paid(order.order_id, 'success', stated), {
      outcome: 'refund_due',
      reason: 'amount_mismatch',
      order,
    })
    t.match(await app.stock(id), { pending: 2, sold: 0 })
    t.match(await app.paid(order.order_id, 'success', { amount: 19_800, currency: 'USD' }), {
      outcome: 'applied',
    })
  }
})

t.test('what a payment carries is kept for your records', async (t) => {
  const { order } = await pending()
  const key = newKey()
  const stated = { amount: 19_800, currency: 'USD', payment_method: 'card', transaction_id: 'tx_1' }
  await app.paid(order.order_id, 'success', stated, key)
  t.match(await app.sql('select * from payments where idempotency_key = $1', [key]), [
    { ...stated, order_id: order.order_id, status: 'success', outcome: 'applied' },
  ])
})

t.test('failure means failed', async (t) => {
  const { order } = await pending()
  t.match(await app.paid(order.order_id, 'failure'), { outcome: 'applied', order: FAILED })
})

t.test(
  'without secrets the key may come in the Idempotency-Key header, but not differ from that in the body',
  async (t) => {
    const { order } = await pending()
    const key = newKey()
    const pay = (body: object, headers: Record<string, string>) =>
      app.call(
        'POST',
        '/api/payments/webhook',
        { order_id: order.order_id, status: 'success', ...body },
        { headers },
      )
    t.match(await pay({}, { 'idempotency-key': key }), { body: { data: { outcome: 'applied' } } })
    t.match(await pay({ idempotency_key: key }, { 'idempotency-key': key }), {
      body: { data: { outcome: 'duplicate' } },
    })
    t.match(await pay({ idempotency_key: key }, {}), { body: { data: { outcome: 'duplicate' } } })
    t.match(await pay({ idempotency_key: newKey() }, { 'idempotency-key': key }), { status: 400 })
    t.match(await pay({}, {}), { status: 400, body: { code: 'validation_failed' } })
  },
)

/** A key that was used for a success of 19,800 must not come with anything else. */
async function refuseReuse(t: Test, used_for: string, key: string): Promise<void> {
  const other = (await pending()).order
  const reused = { status: 422, body: { code: 'idempotency_key_reused' } }
  t.match(await app.pay(other.order_id, 'success', { amount: 19_800 }, key), reused, 'another order')
  t.match(await app.pay(used_for, 'failed', { amount: 19_800 }, key), reused, 'another status')
  t.match(await app.pay(used_for, 'success', { amount: 1 }, key), reused, 'another amount')
  t.match(await app.readOrder(other.order_id), { payment_status: 'pending' })
}

t.test('a key belongs to one payment', async (t) => {
  const { order } = await pending()
  const key = newKey()
  await app.paid(order.order_id, 'success', { amount: 19_800 }, key)
  await refuseReuse(t, order.order_id, key)
  t.match(await app.paid(order.order_id, 'success', { amount: 19_800 }, key), { outcome: 'duplicate' })

  const hold = await app.hold(await app.product(10), 2)
  const parked_key = newKey()
  await app.paid(hold.order_id, 'success', { amount: 19_800 }, parked_key)
  await refuseReuse(t, hold.order_id, parked_key)
})

t.test('a payment of an order that Redis has forgotten is applied, and known again', async (t) => {
  const { id, order } = await pending()
  const key = newKey()
  await app.agree(t, 'before')
  const forget = async () => {
    const keys = [app.engine.keys.id(0, 'order', order.order_id.slice(4)), app.engine.keys.payment(0, key)]
    await app.redis.del(...keys)
  }
  await forget()
  t.match(await app.paid(order.order_id, 'success', {}, key), { outcome: 'applied', order: PAID })
  await app.agree(t, 'after the payment')
  await forget()
  t.match(await app.paid(order.order_id, 'success', {}, key), {
    outcome: 'duplicate',
    first_outcome: 'applied',
    order: PAID,
  })
  t.match(await app.pay(order.order_id, 'failed', {}, key), { status: 422 })
  t.match(
    await app.paid(order.order_id, 'failed'),
    { outcome: 'ignored', order: PAID },
    'an earlier attempt that arrives late',
  )
  t.match(await app.stock(id), SOLD)
})
