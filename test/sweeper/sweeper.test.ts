import t, { type Test } from 'tap'
import { startSweeper } from '../../src/sweeper/sweeper.ts'
import { build, newKey } from '../fixtures/app.ts'
import { times, until } from '../fixtures/until.ts'

/** What dies shows within this of its end; more only because machines are busy. */
const LIMIT_MS = 1_500
const SLACK_MS = 1_500
const app = await build(t, { env: { HOLD_TTL_SECONDS: '1', ORDER_TTL_SECONDS: '1' }, sweeper: true })
/** The same sale, in no hurry. */
const calm = await build(t, { beside: app, env: { HOLD_TTL_SECONDS: '600', ORDER_TTL_SECONDS: '600' } })

t.jobs = 4

/** Waits for something that follows an end, and asserts that it follows soon. */
async function soonAfter<Answer>(
  t: Test,
  end: string,
  what: string,
  ask: () => Promise<Answer | false | undefined>,
): Promise<Answer> {
  const answer = await until(what, ask)
  const late_ms = Date.now() - Date.parse(end)
  t.ok(late_ms < LIMIT_MS + SLACK_MS, `${what}, ${late_ms} ms after its end`)
  return answer
}

t.test('a hold expires by itself, and its units are free again', async (t) => {
  const id = await app.product(5)
  const hold = await app.hold(id, 5)
  t.match(await app.stock(id), { available: 0, held: 5, state: 'all_held' })
  await soonAfter(t, hold.expires_at, 'the units are back', async () => (await app.stock(id)).available === 5)
  t.match(await app.stock(id), { held: 0, state: 'available' })
  t.match(await app.call('GET', `/api/holds/${hold.hold_id}`), {
    status: 410,
    body: { code: 'hold_expired' },
  })
  t.match(await app.call('POST', '/api/orders', { hold_id: hold.hold_id }), { status: 410 })
  t.match(await app.call('DELETE', `/api/holds/${hold.hold_id}`), { status: 410 })
  t.match(await app.stock(id), { available: 5 }, 'they came back once')
})

t.test('a hold that was extended expires at its new end', async (t) => {
  const id = await app.product(1, { hold_ttl_ms: 2_000 })
  const hold = await app.hold(id)
  await until('half of its life', () => Date.now() > Date.parse(hold.created_at) + 1_000)
  const extended = await app.expect<typeof hold>(200, app.call('POST', `/api/holds/${hold.hold_id}/extend`))
  await until('its first end', () => Date.now() > Date.parse(hold.expires_at) + 100)
  t.match(await app.stock(id), { available: 0, held: 1 })
  await soonAfter(
    t,
    extended.expires_at,
    'the unit is back',
    async () => (await app.stock(id)).available === 1,
  )
})

t.test('a hold that became an order does not expire any more', async (t) => {
  const id = await app.product(3)
  const [ordered, other] = [await app.hold(id, 2), await app.hold(id, 1)]
  await calm.order(ordered)
  await soonAfter(t, other.expires_at, 'the other hold is gone', async () => (await app.stock(id)).held === 0)
  t.match(await app.stock(id), { available: 1, held: 0, pending: 2 })
})

t.test('an order that is unpaid at its end is cancelled, and its units are free again', async (t) => {
  const id = await app.product(4)
  const order = await app.order(await app.hold(id, 3))
  const timed_out = await soonAfter(t, order.pay_by, 'it is cancelled', async () => {
    const found = await app.readOrder(order.order_id)
    return found.order_status === 'cancelled' && found
  })
  t.same(timed_out, {
    ...order,
    ...{ payment_status: 'failed', order_status: 'cancelled', cancel_reason: 'payment_timeout' },
  })
  t.match(await app.stock(id), { available: 4, pending: 0 })
  await until('PostgreSQL to know', async () => {
    const [row] = await app.sql<{ cancel_reason: string }>('select cancel_reason from orders where id = $1', [
      order.order_id,
    ])
    return row?.cancel_reason === 'payment_timeout'
  })
  t.match(await app.call('DELETE', `/api/orders/${order.order_id}`), { status: 409 })
  t.match(await app.paid(order.order_id, 'failed'), { outcome: 'ignored' })

  t.match(await app.paid(order.order_id, 'success'), {
    outcome: 'applied',
    order: { payment_status: 'paid', order_status: 'confirmed', cancel_reason: null },
  })
  t.match(await app.stock(id), { available: 1, sold: 3 })
})

t.test('money that comes after the time-out, when the units are gone, is due for refund', async (t) => {
  const id = await app.product(1)
  const order = await app.order(await app.hold(id))
  await until('the time-out', async () => (await app.stock(id)).available === 1)
  const next = await calm.hold(id)
  t.match(await app.paid(order.order_id, 'success'), { outcome: 'refund_due', reason: 'no_units_left' })
  await calm.order(next)
  t.match(await app.stock(id), { available: 0, pending: 1, sold: 0 })
})

t.test('an order that is paid in time stays', async (t) => {
  const id = await app.product(2)
  const [paid, unpaid] = [await app.order(await app.hold(id)), await app.order(await app.hold(id))]
  await app.paid(paid.order_id, 'success')
  await until('the other to time out', async () => (await app.stock(id)).pending === 0)
  t.match(await app.stock(id), { available: 1, sold: 1 })
  t.match(await app.readOrder(paid.order_id), { payment_status: 'paid' })
  t.match(await app.readOrder(unpaid.order_id), { payment_status: 'failed' })
})

t.test(
  'a hold that is paid for becomes an order at its end, even if its buyer never comes back',
  async (t) => {
    const id = await app.product(5, { hold_ttl_ms: 2_000 })
    const hold = await app.hold(id, 2)
    const key = newKey()
    t.match(await app.paid(hold.order_id, 'success', { amount: 19_800 }, key), { outcome: 'parked' })
    const order = await soonAfter(t, hold.expires_at, 'it is an order', async () => {
      const reply = await app.call('GET', `/api/orders/${hold.order_id}`)
      return reply.status === 200 && (reply.body as { data: unknown }).data
    })
    t.match(order, { hold_id: hold.hold_id, payment_status: 'paid', order_status: 'confirmed' })
    t.match(await app.stock(id), { available: 3, held: 0, pending: 0, sold: 2 })
    t.match(await app.call('POST', '/api/orders', { hold_id: hold.hold_id }), {
      status: 409,
      body: { code: 'hold_already_used' },
    })
    t.match(await app.paid(hold.order_id, 'success', { amount: 19_800 }, key), {
      outcome: 'duplicate',
      first_outcome: 'parked',
    })
  },
)

t.test('money for an order that can never come is due for refund in the end', async (t) => {
  const late = await app.product(1)
  const hold = await app.hold(late)
  await until('its end', async () => (await app.stock(late)).available === 1)
  const [success, failed] = [newKey(), newKey()]
  t.match(await app.paid(hold.order_id, 'success', {}, success), { outcome: 'parked' })
  t.match(await app.paid(hold.order_id, 'failed', {}, failed), { outcome: 'parked' })
  // Its time is put forward, for it would take 13 s.
  await app.redis.zadd(app.engine.keys.shard(0, 'parked'), 'XX', Date.now(), hold.order_id.slice(4))
  const outcome = async (key: string) =>
    (
      await app.sql<{ outcome: string; reason: string }>(
        'select outcome, reason from payments where idempotency_key = $1',
        [key],
      )
    )[0]
  const settled = await until('the refund', async () => {
    const row = await outcome(success)
    return row?.outcome === 'refund_due' && row
  })
  t.match(settled, { reason: 'order_never_came' })
  t.match(await outcome(failed), { outcome: 'ignored' })
  t.match(await app.paid(hold.order_id, 'success', {}, success), {
    outcome: 'duplicate',
    first_outcome: 'parked',
  })
})

t.test('while 1,500 holds die at once, every read of the stock is right', async (t) => {
  const id = await app.product(1_500)
  await times(1_500, () => app.hold(id))
  const wrong: unknown[] = []
  await until('all units', async () => {
    const { total, available, held, pending, sold } = await app.stock(id)
    if (available + held + pending + sold !== total || available < 0) wrong.push({ available, held })
    return available === 1_500
  })
  t.same(wrong, [])
})

t.test('the units of a customer are free again for him', async (t) => {
  const id = await app.product(5, { max_per_customer: 2 })
  await app.hold(id, 2, { customer_id: 'ada' })
  t.match(await app.call('POST', '/api/holds', { product_id: id, qty: 1, customer_id: 'ada' }), {
    status: 409,
  })
  await until('his units', async () => (await app.stock(id)).available === 5)
  t.match(await app.hold(id, 2, { customer_id: 'ada' }), { status: 'active' })
})

t.test('sweepers that run at once give every unit back once', async (t) => {
  const shared = await build(t, { env: { HOLD_TTL_SECONDS: '1', ORDER_TTL_SECONDS: '1' }, sweeper: true })
  const second = await build(t, {
    beside: shared,
    env: { HOLD_TTL_SECONDS: '1', ORDER_TTL_SECONDS: '1' },
    sweeper: true,
  })
  const third = startSweeper({ ...second.service, say: () => {} })
  const id = await shared.product(200)
  const holds = await times(150, () => shared.hold(id))
  await Promise.all(holds.slice(0, 40).map((hold) => shared.order(hold)))
  await Promise.all(holds.slice(40, 60).map((hold) => shared.paid(hold.order_id, 'success')))
  await until('all to be over', async () => {
    const { held, pending } = await shared.stock(id)
    return held + pending === 0
  })
  t.match(await shared.stock(id), { available: 180, sold: 20 })
  await shared.agree(t, 'in the end')
  await third.stop()
  const made = await shared.sql(
    'select payment_status, count(*)::int as count from orders group by 1 order by 1',
  )
  t.same(made, [
    { payment_status: 'failed', count: 40 },
    { payment_status: 'paid', count: 20 },
  ])
})
