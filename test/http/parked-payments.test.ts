import t, { type Test } from 'tap'
import { idEnd } from '../../src/engine/ids.ts'
import { build, newKey } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'

const app = await build(t)
type Row = { outcome: string; first_outcome: string; reason: string | null }
const row = async (key: string) =>
  (
    await app.sql<Row>('select outcome, first_outcome, reason from payments where idempotency_key = $1', [
      key,
    ])
  )[0]

t.test('a payment before its order is parked and applied when the order comes', async (t) => {
  for (const [status, order_status, stock] of [
    ['success', 'confirmed', { available: 7, held: 0, pending: 0, sold: 3 }],
    ['failed', 'cancelled', { available: 10, held: 0, pending: 0, sold: 0 }],
  ] as const) {
    const id = await app.product(10)
    const hold = await app.hold(id, 3)
    const key = newKey()
    const reply = await app.pay(hold.order_id, status, { amount: 29_700, currency: 'USD' }, key)
    t.equal(reply.status, 202)
    t.same(reply.body, { data: { outcome: 'parked', order: null } })
    t.match(await row(key), { outcome: 'parked' }, 'PostgreSQL has it by then')
    t.match(await app.stock(id), { held: 3 }, 'the hold stays a hold')

    t.match(await app.paid(hold.order_id, status, { amount: 29_700, currency: 'USD' }, key), {
      outcome: 'duplicate',
      first_outcome: 'parked',
    })
    const order = await app.order(hold)
    t.match(order, { order_status, payment_status: status === 'success' ? 'paid' : 'failed' })
    t.same(await app.readOrder(hold.order_id), order)
    t.match(await app.stock(id), stock)
    t.match(await row(key), { outcome: 'applied', first_outcome: 'parked' })
    t.match(await app.paid(hold.order_id, status, { amount: 29_700, currency: 'USD' }, key), {
      outcome: 'duplicate',
      first_outcome: 'parked',
      order: { order_status },
    })
    await app.agree(t, 'in the end')
  }
})

t.test(
  'the end is the same whether payments come before the order, after it, or on both sides',
  async (t) => {
    const sequences = [
      ['success'],
      ['failed'],
      ['failed', 'success'],
      ['success', 'failed'],
      ['success', 'success'],
    ]
    for (const statuses of sequences) {
      const ends: unknown[] = []
      for (let order_at = 0; order_at <= statuses.length; order_at += 1) {
        const id = await app.product(10)
        const hold = await app.hold(id, 2)
        const keys: string[] = []
        for (const [at, status] of [...statuses, ''].entries()) {
          if (at === order_at) await app.order(hold)
          if (status === '') break
          keys.push(newKey())
          await app.paid(hold.order_id, status, {}, keys.at(-1))
        }
        const { payment_status, order_status, cancel_reason } = await app.readOrder(hold.order_id)
        const { available, pending, sold } = await app.stock(id)
        const outcomes: unknown[] = []
        for (const key of keys) {
          const { outcome, reason } = (await row(key)) as Row
          outcomes.push([outcome, reason])
        }
        ends.push({ payment_status, order_status, cancel_reason, available, pending, sold, outcomes })
      }
      for (const end of ends.slice(1)) t.same(end, ends[0], statuses.join(', then '))
    }
    await app.agree(t, 'in the end')
  },
)

t.test(
  'a parked payment of another amount is due for refund once the order comes, which stays unpaid',
  async (t) => {
    const id = await app.product(10)
    const hold = await app.hold(id)
    const key = newKey()
    await app.paid(hold.order_id, 'success', { amount: 1 }, key)
    t.match(await app.order(hold), { payment_status: 'pending' })
    t.match(await row(key), { outcome: 'refund_due', reason: 'amount_mismatch' })
    t.match(await app.stock(id), { pending: 1, sold: 0 })
  },
)

t.test('a released hold gives its parked money back', async (t) => {
  const id = await app.product(10)
  const hold = await app.hold(id)
  const [success, failed] = [newKey(), newKey()]
  await app.paid(hold.order_id, 'success', {}, success)
  await app.paid(hold.order_id, 'failed', {}, failed)
  t.match(await app.call('DELETE', `/api/holds/${hold.hold_id}`), { status: 204 })
  t.match(
    await row(success),
    { outcome: 'refund_due', first_outcome: 'parked', reason: 'hold_released' },
    'at once',
  )
  t.match(await row(failed), { outcome: 'ignored' })
  t.match(await app.stock(id), { available: 10, held: 0 })
  await app.agree(t, 'in the end')
})

t.test('any order id of this installation may be parked, no other', async (t) => {
  const ends = (Date.now() + 60_000).toString(16).padStart(11, '0')
  const end = ends + idEnd(0, app.engine.installation)
  t.match(await app.pay(`ord_${'A'.repeat(16)}${end}`, 'success'), { status: 202 })
  const bad = [
    ...['ord_1', `hld_${'A'.repeat(16)}${end}`],
    ...[idEnd(5, app.engine.installation), idEnd(0, 'fffff'), idEnd(0, '')].map(
      (other) => `ord_${'A'.repeat(16)}${ends}${other}`,
    ),
  ]
  for (const order_id of bad) {
    t.match(
      await app.pay(order_id, 'success'),
      { status: 400, body: { code: 'validation_failed' } },
      order_id,
    )
  }
})

t.test('a hold that is paid for does not expire, one that is paid too little for does', async (t) => {
  const id = await app.product(2, { hold_ttl_ms: 400 })
  const paid = await app.hold(id)
  const unpaid = await app.hold(id)
  await app.paid(paid.order_id, 'success')
  await app.paid(unpaid.order_id, 'success', { amount: 1 })
  const next = await until('the units of the one', async () => {
    const reply = await app.call('POST', '/api/holds', { product_id: id, qty: 1 })
    return reply.status === 201 && reply
  })
  t.equal(next.status, 201)
  t.match(await app.call('POST', '/api/orders', { hold_id: unpaid.hold_id }), { status: 410 })
  t.match(await app.order(paid), { payment_status: 'paid' }, 'the units of the other are its own')
  t.match(await app.stock(id), { available: 0, held: 1, sold: 1 })
})

/** What became of a failure and a success that were parked in this order, and in one moment, when their order came behind a rebuild. */
async function parkedInOneMoment(t: Test, is_told: boolean): Promise<string[]> {
  const app = await build(t)
  const hold = await app.hold(await app.product(1))
  await app.paid(hold.order_id, 'failed', {}, `z-${newKey()}`)
  await app.paid(hold.order_id, 'success', {}, `a-${newKey()}`)
  const seq = is_told ? 'seq' : '0'
  await app.sql(
    `update payments set seq = ${seq}, created_at = (select min(created_at) from payments) where order_id = $1`,
    [hold.order_id],
  )
  app.engine.fence.close(0, 'a test asks for a rebuild', 'wrong')
  await until('the rebuild', () => app.engine.fence.isOpen(0))
  t.match(await app.order(hold), { payment_status: 'paid' })
  const rows = await app.sql<{ outcome: string }>(
    'select outcome from payments where order_id = $1 order by status',
    [hold.order_id],
  )
  return rows.map(({ outcome }) => outcome)
}

t.test('payments that were parked in one moment keep their order over a rebuild', async (t) => {
  t.same(await parkedInOneMoment(t, true), ['applied', 'applied'], 'the failure counted, then the success')
})

t.test('control: without their numbers they do not', async (t) => {
  t.same(await parkedInOneMoment(t, false), ['ignored', 'applied'])
})
