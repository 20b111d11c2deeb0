import t, { type Test } from 'tap'
import { makeEntry, type Payment } from '../../src/engine/records.ts'
import { type App, build, newKey } from '../fixtures/app.ts'
import { orderOf } from '../fixtures/orders.ts'
import { until } from '../fixtures/until.ts'

/** A service whose Redis believes in three units more than there are. */
async function open(t: Test): Promise<{ app: App; id: number }> {
  const app = await build(t, { sweeper: true })
  const id = await app.product(2)
  const key = app.engine.keys.shard(0, 'products')
  await app.redis.hset(key, `${id}:total`, 5, `${id}:available`, 5)
  return { app, id }
}
const isOpen = (app: App) =>
  until('an open fence', async () => (await app.call('GET', '/readyz')).status === 200)

t.test(
  'an order that PostgreSQL refuses is undone and answered 409, and the counters are put right',
  async (t) => {
    const { app, id } = await open(t)
    const holds = [await app.hold(id), await app.hold(id), await app.hold(id)] as const
    const live = await app.hold(id)
    await app.order(holds[0])
    const paid = await app.order(holds[1])
    await app.paid(paid.order_id, 'success')
    const keyed = { headers: { 'idempotency-key': newKey() } }
    const ask = () => app.call('POST', '/api/orders', { hold_id: holds[2].hold_id }, keyed)
    t.match(await ask(), { status: 409, body: { code: 'insufficient_stock' } })
    t.same(await app.sql('select 1 from orders where id = $1', [holds[2].order_id]), [])
    t.ok(
      app.log.some((line) => line.includes('refused')),
      'the log rings the alarm',
    )
    await isOpen(app)
    t.match(await app.stock(id), { total: 2, available: 0, held: 0, pending: 1, sold: 1 })
    t.match(await app.call('GET', `/api/orders/${holds[2].order_id}`), { status: 404 })
    t.match(
      await app.call('GET', `/api/holds/${live.hold_id}`),
      { status: 410 },
      'the hold that nothing was left for',
    )
    const again = await ask()
    t.ok(
      again.status >= 400 && again.status < 500,
      `the same request again gets ${again.status}, not an order that is not there`,
    )
    t.match(await app.call('POST', '/api/holds', { product_id: id, qty: 1 }), { status: 409 })
    await app.agree(t, 'afterwards')
  },
)

t.test('money that was parked for it is due for refund', async (t) => {
  const { app, id } = await open(t)
  const holds = [await app.hold(id, 2), await app.hold(id)] as const
  await app.order(holds[0])
  const key = newKey()
  await app.paid(holds[1].order_id, 'success', {}, key)
  t.match(await app.call('POST', '/api/orders', { hold_id: holds[1].hold_id }), { status: 409 })
  const rows = await app.sql('select outcome, reason from payments where idempotency_key = $1', [key])
  t.same(rows, [{ outcome: 'refund_due', reason: 'no_units_left' }])
  await isOpen(app)
  const [left] = await app.keys(`*:order:${holds[1].order_id.slice(4)}`)
  t.equal(left, undefined, 'a PostgreSQL that comes back from the past is not told of it')
  await app.agree(t, 'afterwards')
})

t.test('a late payment that PostgreSQL has no units for is due for refund', async (t) => {
  const { app, id } = await open(t)
  const order = await app.order(await app.hold(id))
  await app.paid(order.order_id, 'failed')
  await app.order(await app.hold(id, 2))
  const key = newKey()
  t.match(await app.paid(order.order_id, 'success', {}, key), {
    outcome: 'refund_due',
    reason: 'no_units_left',
  })
  await isOpen(app)
  t.match(await app.readOrder(order.order_id), { order_status: 'cancelled', payment_status: 'failed' })
  t.match(await app.paid(order.order_id, 'success', {}, key), {
    outcome: 'duplicate',
    first_outcome: 'refund_due',
  })
  await app.agree(t, 'afterwards')
})

t.test('one refused order fails none of those that are committed with it', async (t) => {
  const { app, id } = await open(t)
  const other = await app.product(50)
  const holds = [await app.hold(id, 2), await app.hold(id)]
  for (let count = 0; count < 20; count += 1) holds.push(await app.hold(other))
  const created = await Promise.all(
    holds.map(({ hold_id }) => app.engine.createOrder(hold_id.slice(4), null)),
  )
  const answers = await Promise.all(
    created.map((result) =>
      result.status === 'created' ? app.service.writer.commit(result.entry) : result.status,
    ),
  )
  t.same(answers.slice(0, 2).toSorted(), ['committed', 'refused'])
  t.same(new Set(answers.slice(2)), new Set(['committed']))
  await isOpen(app)
  await app.agree(t, 'afterwards')
})

t.test(
  'what the floor says is heard, not what the statements behind it say, in each of many tries',
  async (t) => {
    const { app, id } = await open(t)
    const answers = new Set<string>()
    for (let tries = 0; tries < 40; tries += 1) {
      const order = orderOf([[id, 3]])
      const payment: Payment = {
        ...{ idempotency_key: newKey(), order_id: order.id, status: 'success', amount: null, currency: null },
        ...{
          payment_method: null,
          transaction_id: null,
          reason: null,
          created_at_ms: order.created_at_ms,
          seq: 0,
        },
        ...{ outcome: 'applied', first_outcome: 'parked' },
      }
      // One that was set aside: no journal has to have it.
      const from = { shard: 0, entry_id: '', epoch: undefined }
      const entry = makeEntry(from, { order, payments: [payment] })
      answers.add(await app.service.writer.commit(entry).catch((error: Error) => error.message))
    }
    t.same([...answers], ['refused'])
    const rows = await app.sql(
      'select outcome, reason, count(*)::int as count from payments group by outcome, reason',
    )
    t.same(rows, [{ outcome: 'refund_due', reason: 'no_units_left', count: 40 }])
    await isOpen(app)
  },
)
