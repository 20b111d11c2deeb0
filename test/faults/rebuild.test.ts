import t from 'tap'
import { newKey } from '../fixtures/app.ts'
import type { HoldBody } from '../fixtures/resources.ts'
import { until } from '../fixtures/until.ts'
import { buildFaulty } from './fixtures/faulty-app.ts'
import { checkSale, createClient, isReady, newLedger, startSale } from './fixtures/sale.ts'

const HOLD_TTL_SECONDS = '3'
const MAX_ENTRIES = 20_000
const OLD_ENTRY = '1000-1'

t.test('holds that survive a rebuild can be ordered, extended and released, and they expire', async (t) => {
  const { app, server } = await buildFaulty(t, { env: { HOLD_TTL_SECONDS } })
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(10)
  const [ordered, extended, released, expired] = await Promise.all(
    [1, 2, 3, 4].map(() => client.held(product)),
  )
  await server.redis.del(app.engine.keys.shard(0, 'epoch'))
  t.equal((await app.call('GET', `/api/holds/${ordered?.hold_id}`)).status, 503)
  await isReady(app)
  t.match(await app.stock(product), { available: 6, held: 4 })
  t.ok(ordered && (await client.order(ordered)))
  const later = await app.call('POST', `/api/holds/${extended?.hold_id}/extend`)
  t.match(later, { status: 200 })
  t.equal((await app.call('DELETE', `/api/holds/${released?.hold_id}`)).status, 204)
  const { expires_at } = (later.body as { data: HoldBody }).data
  t.ok(expires_at > (extended?.expires_at ?? ''))
  await until('the others have expired', async () => (await app.stock(product)).held === 0)
  t.equal((await app.call('GET', `/api/holds/${expired?.hold_id}`)).status, 410)
  t.match(await app.stock(product), { available: 9, held: 0, pending: 1 })
  await checkSale(t, app, ledger)
})

t.test('limits of customers outlive the loss of Redis, with holds and without', async (t) => {
  const { app, server } = await buildFaulty(t)
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(10, { max_per_customer: 2 })
  await client.ordered(product, { customer_id: 'ann' })
  const held = await client.held(product, { customer_id: 'ann' })
  t.notOk(await client.hold(product, { customer_id: 'ann' }), 'the limit is reached')
  await server.redis.del(app.engine.keys.shard(0, 'epoch'))
  t.notOk(await client.hold(product, { customer_id: 'ann' }), 'and still is after a rebuild')
  t.equal((await app.call('DELETE', `/api/holds/${held.hold_id}`)).status, 204)
  const again = await client.held(product, { customer_id: 'ann' })
  t.notOk(await client.hold(product, { customer_id: 'ann' }))
  await server.redis.flushall()
  t.equal([404, 410, 503].includes((await app.call('GET', `/api/holds/${again.hold_id}`)).status), true)
  t.ok(await client.hold(product, { customer_id: 'ann' }), 'the lost hold counts no more')
  t.notOk(await client.hold(product, { customer_id: 'ann' }), 'the order still does')
  await checkSale(t, app, ledger)
})

t.test('a hold that is paid for becomes its order though Redis was rebuilt in between', async (t) => {
  const { app, server } = await buildFaulty(t, { env: { HOLD_TTL_SECONDS: '2' } })
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(10)
  const [by_sweeper, by_buyer] = [await client.held(product), await client.held(product)]
  const unpaid = await client.held(product)
  t.match(await client.pay(by_sweeper.order_id, 'success'), { outcome: 'parked' })
  t.match(await client.pay(by_buyer.order_id, 'success'), { outcome: 'parked' })
  await server.redis.del(app.engine.keys.shard(0, 'epoch'))
  t.match(await client.order(by_buyer), { payment_status: 'paid' })
  await until('the sweeper has made the order', async () => {
    const [order] = await app.sql('select 1 from orders where id = $1', [by_sweeper.order_id])
    return order !== undefined
  })
  t.match(await app.readOrder(by_sweeper.order_id), { payment_status: 'paid' })
  await until('the other has expired', async () => (await app.stock(product)).held === 0)
  t.equal((await app.call('GET', `/api/holds/${unpaid.hold_id}`)).status, 410)
  t.match(await app.stock(product), { available: 8, sold: 2 })
  await checkSale(t, app, ledger)
})

t.test('a payment that was parked is applied, or due for refund, though Redis lost everything', async (t) => {
  const { app, server } = await buildFaulty(t, { env: { HOLD_TTL_SECONDS: '1' } })
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(10)
  const lost = await client.held(product)
  const [key, again] = [newKey(), newKey()]
  t.match(await client.pay(lost.order_id, 'success', key), { outcome: 'parked' })
  await server.redis.flushall()
  t.match(await client.pay(lost.order_id, 'success', key), { outcome: 'duplicate', first_outcome: 'parked' })
  t.match(await client.pay(lost.order_id, 'failed', again), { outcome: 'parked' })
  const outcome = () => app.sql('select idempotency_key, outcome from payments order by status')
  // Nobody wants to wait until the order can not come any more: its time is brought forward.
  const parked = app.engine.keys.shard(0, 'parked')
  t.ok(await server.redis.zscore(parked, lost.order_id.slice('ord_'.length)), 'they are parked again')
  await server.redis.zadd(parked, 'XX', 1, lost.order_id.slice('ord_'.length))
  await until('nobody can make that order', async () => !/parked/.test(JSON.stringify(await outcome())))
  t.same(await outcome(), [
    { idempotency_key: again, outcome: 'ignored' },
    { idempotency_key: key, outcome: 'refund_due' },
  ])
  await checkSale(t, app, ledger)
})

t.test('an order that is asked for again after Redis was lost entirely is found', async (t) => {
  const { app, server } = await buildFaulty(t)
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(10)
  const hold = await client.held(product)
  const other = await client.held(product)
  const key = newKey()
  const headers = { 'idempotency-key': key }
  const order = await client.order(hold, key)
  for (const loss of ['all', 'epoch']) {
    if (loss === 'all') await server.redis.flushall()
    else await server.redis.del(app.engine.keys.shard(0, 'epoch'))
    await until('ready', async () => {
      await app.engine.probe()
      return (await app.call('GET', '/readyz')).status === 200
    })
    const again = await app.call('POST', '/api/orders', { hold_id: hold.hold_id }, { headers })
    t.match(again, {
      status: 201,
      headers: { 'idempotency-replayed': 'true' },
      body: { data: { order_id: order?.order_id } },
    })
    const keyless = await app.call('POST', '/api/orders', { hold_id: hold.hold_id })
    t.match(keyless, { status: 409, body: { code: 'hold_already_used', order_id: order?.order_id } })
    const gone = await app.call(
      'POST',
      '/api/orders',
      { hold_id: other.hold_id },
      { headers: { 'idempotency-key': newKey() } },
    )
    t.equal([404, 410].includes(gone.status), true, 'the hold that was none yet is gone')
  }
  t.match(await app.stock(product), { available: 9, pending: 1 })
  await checkSale(t, app, ledger)
})

t.test('with a journal that is too long or too old new holds are refused, and orders go on', async (t) => {
  const { app, server } = await buildFaulty(t, { sweeper: false })
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(100)
  const [first, second] = [await client.held(product), await client.held(product)]
  const journal = app.engine.keys.shard(0, 'journal')
  const place = () => app.call('POST', '/api/holds', { product_id: product, qty: 1 })
  const refused = { status: 503, body: { code: 'unavailable' }, headers: { 'retry-after': /^\d+$/ } }

  const fill = server.redis.pipeline()
  for (let at = 0; at <= MAX_ENTRIES; at += 1) fill.xadd(journal, '*', 'order', '', 'payments', '')
  const ids = ((await fill.exec()) ?? []).map(([, id]) => id as string)
  t.match(await place(), refused, 'too long')
  t.match(await client.order(first), { order_status: 'pre-payment' })
  await server.redis.xdel(journal, ...ids)
  t.equal((await place()).status, 201)

  await server.redis.del(journal)
  await server.redis.xadd(journal, OLD_ENTRY, 'order', '', 'payments', '')
  t.match(await place(), refused, 'too old')
  t.match(await client.order(second), { order_status: 'pre-payment' })
  await server.redis.xdel(journal, OLD_ENTRY)
  t.equal((await place()).status, 201)
  await checkSale(t, app, ledger)
})

t.test('the loss of Redis in the middle of a rebuild leads to another rebuild', async (t) => {
  const { app, server } = await buildFaulty(t)
  const product = await app.product(500)
  const sale = startSale([app], product, { buyers: 4 })
  await sale.sells(10)
  const epoch = app.engine.keys.shard(0, 'epoch')
  for (let time = 0; time < 5; time += 1) {
    await server.redis.flushall()
    // It is the first key that a rebuild writes.
    await until('a rebuild has begun', async () => (await server.redis.exists(epoch)) === 1)
  }
  await sale.sells(10)
  await checkSale(t, app, await sale.stop())
})
