import t from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import { send } from '../fixtures/http.ts'
import { until } from '../fixtures/until.ts'

type App = Awaited<ReturnType<typeof build>>
type Numbers = Map<string, number>

/** Every line of `/metrics` that is a number, by its name and labels. */
async function read(app: App): Promise<Numbers> {
  const { text } = await send(app.origin, { method: 'GET', path: '/metrics' })
  return new Map(
    [...text.matchAll(/^(\w+(?:\{[^}]*\})?) (\S+)$/gm)].map(([, name, n]) => [name as string, Number(n)]),
  )
}

/** By how much these numbers rose while `work` was done. */
async function rise(
  app: App,
  names: string[],
  work: () => Promise<unknown>,
): Promise<Record<string, number>> {
  const before = await read(app)
  await work()
  const after = await read(app)
  return Object.fromEntries(names.map((name) => [name, (after.get(name) ?? 0) - (before.get(name) ?? 0)]))
}

t.test('orders and payments are counted by what became of them', async (t) => {
  const app = await build(t)
  const product = await app.product(9)
  const orders = (outcome: string) => `holdfast_orders_total{outcome="${outcome}"}`
  const payments = (outcome: string) => `holdfast_payments_total{outcome="${outcome}"}`
  const cancelled = (reason: string) => `holdfast_orders_cancelled_total{reason="${reason}"}`
  const wanted = {
    [orders('created')]: 3,
    [orders('replayed')]: 1,
    [orders('hold_already_used')]: 1,
    [orders('hold_not_found')]: 1,
    [payments('applied')]: 2,
    [payments('duplicate')]: 1,
    [payments('refund_due')]: 1,
    [payments('idempotency_key_reused')]: 1,
    [payments('validation_failed')]: 1,
    [cancelled('payment_failed')]: 1,
    [cancelled('requested')]: 1,
    [cancelled('payment_timeout')]: 0,
    holdfast_refunds_due_total: 1,
    holdfast_refunds_open: 1,
    'holdfast_http_request_duration_seconds_count{method="POST",route="/api/orders",status="201"}': 4,
    'holdfast_http_request_duration_seconds_count{method="POST",route="/api/orders",status="409"}': 1,
    'holdfast_http_request_duration_seconds_bucket{le="+Inf",method="POST",route="/api/orders",status="409"}': 1,
  }
  const risen = await rise(app, Object.keys(wanted), async () => {
    const hold = await app.hold(product)
    const keyed = { headers: { 'idempotency-key': newKey() } }
    for (let n = 0; n < 2; n += 1) await app.call('POST', '/api/orders', { hold_id: hold.hold_id }, keyed)
    await app.call('POST', '/api/orders', { hold_id: hold.hold_id })
    await app.call('POST', '/api/orders', { hold_id: 'hld_x' })
    const key = newKey()
    await app.pay(hold.order_id, 'success', {}, key)
    await app.pay(hold.order_id, 'success', {}, key)
    await app.pay(hold.order_id, 'failed', {}, key)
    await app.pay(hold.order_id, 'success')
    await app.pay(hold.order_id, 'perhaps')
    const failed = await app.order(await app.hold(product))
    await app.pay(failed.order_id, 'failed')
    const requested = await app.order(await app.hold(product))
    await app.call('DELETE', `/api/orders/${requested.order_id}`)
  })
  t.same(risen, wanted)
})

t.test('what is dead is counted by its kind, with how late it was ended', async (t) => {
  const app = await build(t, { sweeper: true, env: { ORDER_TTL_SECONDS: '1' } })
  const product = await app.product(9, { hold_ttl_ms: 1000 })
  await app.order(await app.hold(product))
  await app.hold(product, 2)
  const names = ['hold', 'order'].map((kind) => `holdfast_expired_total{kind="${kind}"}`)
  await until('both ends', async () => {
    const now = await read(app)
    // A cancellation counts once PostgreSQL has it.
    const cancelled = now.get('holdfast_orders_cancelled_total{reason="payment_timeout"}') === 1
    return cancelled && names.every((name) => now.get(name) === 1)
  })
  const now = await read(app)
  for (const kind of ['hold', 'order']) {
    t.equal(now.get(`holdfast_expiry_lateness_seconds_count{kind="${kind}"}`), 1)
    const late = now.get(`holdfast_expiry_lateness_seconds_sum{kind="${kind}"}`) as number
    t.ok(late >= 0 && late < 60, `${kind}: ${late}`)
  }
})

t.test('what waits for a sweep is seen where no sweeper runs', async (t) => {
  const app = await build(t)
  const product = await app.product(2, { hold_ttl_ms: 50 })
  t.equal((await read(app)).get('holdfast_expiry_overdue_seconds{shard="0"}'), 0)
  await app.hold(product)
  await until(
    'a dead hold',
    async () => ((await read(app)).get('holdfast_expiry_overdue_seconds{shard="0"}') ?? 0) > 0.2,
  )
})

t.test('stock is shown by product and part, and what batches hold by their kind', async (t) => {
  const app = await build(t)
  const { id: product } = await app.expect<{ id: number }>(
    201,
    app.call('POST', '/api/products', { name: 'Shoe', unit_amount: 100, currency: 'USD', total_stock: 5 }),
  )
  await app.hold(product, 2)
  await app.order(await app.hold(product))
  const now = await read(app)
  const units = (part: string) => now.get(`holdfast_stock_units{product="${product}",part="${part}"}`)
  t.same(['available', 'held', 'pending', 'sold'].map(units), [2, 2, 1, 0])
  t.equal(now.get('holdfast_gather_batch_requests_sum{what="holds"}'), 2)
  t.equal(now.get('holdfast_commit_batch_entries_sum'), 1)
  t.ok((now.get('holdfast_redis_seconds_count{script="place-holds"}') ?? 0) > 0)
  t.ok((now.get('holdfast_postgres_seconds_count{what="transaction"}') ?? 0) > 0)
})

t.test('the age of the journal, rebuilds and broken counters are told', async (t) => {
  const app = await build(t)
  const product = await app.product(5)
  const id = (await app.hold(product)).hold_id.slice('hld_'.length)
  await app.engine.createOrder(id, null)
  await until(
    'an old entry',
    async () => ((await read(app)).get('holdfast_journal_age_seconds{shard="0"}') ?? 0) > 0,
  )
  const rebuilds = (await read(app)).get('holdfast_rebuilds_total') as number
  await app.redis.del(app.engine.keys.shard(0, 'epoch'))
  await app.call('POST', '/api/holds', { product_id: product, qty: 1 })
  await until('a rebuild', async () => ((await read(app)).get('holdfast_rebuilds_total') ?? 0) > rebuilds)
  t.equal((await read(app)).get('holdfast_invariants_broken_total'), 0)
  await app.redis.hset(app.engine.keys.shard(0, 'products'), `${product}:available`, 'many')
  await app.call('POST', '/api/holds', { product_id: product, qty: 1 })
  t.ok(((await read(app)).get('holdfast_invariants_broken_total') ?? 0) > 0)
})
