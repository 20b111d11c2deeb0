import t from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import { times } from '../fixtures/until.ts'

const app = await build(t)
const columns =
  "payment_status, order_status, cancel_reason, cardinality(string_to_array(history, ',')) as version"
type Row = { payment_status: string; order_status: string; cancel_reason: string | null; version: number }
/** The order as another connection sees it at this moment. */
const row = async (id: string) => (await app.sql<Row>(`select ${columns} from orders where id = $1`, [id]))[0]

t.test('an order is in PostgreSQL by the time it is answered', async (t) => {
  const id = await app.product(100)
  for (let count = 0; count < 30; count += 1) {
    const { order_id } = await app.order(await app.hold(id, 2))
    t.match(await row(order_id), { payment_status: 'pending', order_status: 'pre-payment' })
    const items = await app.sql('select product_id, qty, unit_amount from order_items where order_id = $1', [
      order_id,
    ])
    t.same(items, [{ product_id: id, qty: 2, unit_amount: 9900 }])
  }
  await app.agree(t, 'in the end')
})

t.test('so are orders that are answered together', async (t) => {
  const id = await app.product(200)
  const holds = await times(100, () => app.hold(id))
  const seen = await Promise.all(holds.map(async (hold) => row((await app.order(hold)).order_id)))
  t.equal(seen.filter((one) => one?.order_status === 'pre-payment').length, 100)
  await app.agree(t, 'in the end')
})

t.test('a payment and what it did to its order are there together', async (t) => {
  const id = await app.product(100)
  for (const [status, wanted] of [
    ['success', { payment_status: 'paid', order_status: 'confirmed', version: 2 }],
    [
      'failed',
      { payment_status: 'failed', order_status: 'cancelled', cancel_reason: 'payment_failed', version: 2 },
    ],
  ] as const) {
    for (let count = 0; count < 10; count += 1) {
      const { order_id } = await app.order(await app.hold(id))
      const key = newKey()
      await app.paid(order_id, status, {}, key)
      t.match(await row(order_id), wanted)
      const payments = await app.sql('select outcome from payments where idempotency_key = $1', [key])
      t.same(payments, [{ outcome: 'applied' }])
    }
  }
})

t.test('so is a cancellation', async (t) => {
  const id = await app.product(10)
  const { order_id } = await app.order(await app.hold(id))
  await app.call('DELETE', `/api/orders/${order_id}`)
  t.match(await row(order_id), {
    payment_status: 'pending',
    order_status: 'cancelled',
    cancel_reason: 'requested',
  })
})

t.test('so is a duplicate: it is answered when the first delivery is committed, not before', async (t) => {
  const id = await app.product(10)
  const { order_id } = await app.order(await app.hold(id))
  const key = newKey()
  await times(20, async () => {
    await app.paid(order_id, 'success', {}, key)
    t.match(await row(order_id), { payment_status: 'paid' })
  })
})

t.test('control: before its commit an order is in Redis and in the journal alone', async (t) => {
  const id = await app.product(10)
  const hold = await app.hold(id)
  await app.agree(t, 'before')
  const created = await app.engine.createOrder(hold.hold_id.slice(4), null)
  if (created.status !== 'created') throw new Error(created.status)
  t.equal(await row(hold.order_id), undefined)
  t.equal(await app.journal(), 1)
  t.match(await app.readOrder(hold.order_id), { order_status: 'pre-payment' })
  t.equal(await app.service.writer.commit(created.entry), 'committed')
  t.match(await row(hold.order_id), { order_status: 'pre-payment' })
  await app.agree(t, 'afterwards')
})

t.test('many commits at once share transactions', async (t) => {
  const id = await app.product(300)
  const holds = await times(300, () => app.hold(id))
  const before = await app.sql<{ xact: number }>('select pg_current_xact_id()::text::bigint as xact')
  await Promise.all(holds.map((hold) => app.order(hold)))
  const after = await app.sql<{ xact: number }>('select pg_current_xact_id()::text::bigint as xact')
  const transactions = (after[0]?.xact ?? 0) - (before[0]?.xact ?? 0)
  t.ok(transactions < 150, `${transactions} transactions for 300 orders`)
  await app.agree(t, 'in the end')
})
