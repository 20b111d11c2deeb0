import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { lockOf } from '../../src/recovery/rebuilder.ts'
import { verifyShard } from '../../src/recovery/verify.ts'
import type { App } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { isWhole, openMover } from '../recovery/fixtures/mover.ts'
import { openShop, PAST, type Shop } from './fixtures/past.ts'
import { isReady } from './fixtures/sale.ts'
import { verify } from './fixtures/verify.ts'

const env = { STOCK_SHARDS: '2' }
const FROM = 1
const TO = 0
const UNITS = 5

/** A product of shard 1 that was moved to shard 0 and sold there, which PostgreSQL is about to forget. */
async function sellMoved(t: Test, shop: Shop, app: App) {
  const body = { name: 'Shoe', unit_amount: 9900, currency: 'USD', total_stock: UNITS }
  const { id } = await app.expect<{ id: number }>(201, app.call('POST', '/api/products', body))
  t.equal(app.engine.shardOfProduct(id), FROM)
  const unpaid = await app.order(await app.hold(id))
  await until('the journal is empty', async () => (await app.redis.xlen(journal(app, FROM))) === 0)
  await shop.postgres.keep()
  await isReady(app)
  await openMover(t, app, undefined, shop.urls.redis_url).move([id], TO)
  await isWhole(app)
  const paid = await app.order(await app.hold(id, 2))
  await app.paid(paid.order_id, 'success')
  await app.expect(200, app.call('PATCH', `/api/products/${id}`, { name: 'Boot' }))
  await until('the journal is empty', async () => (await app.redis.xlen(journal(app, TO))) === 0)
  return { id, unpaid, paid }
}
const journal = (app: App, shard: number) => app.engine.keys.shard(shard, 'journal')

type Sold = Awaited<ReturnType<typeof sellMoved>>

/** Both shards are open, the product is back, and what was sold of it is not sold again. */
async function checkMoved(t: Test, app: App, { id, unpaid, paid }: Sold): Promise<void> {
  await until('the product', async () => (await app.call('GET', `/api/products/${id}`)).status === 200)
  await isWhole(app)
  t.equal(app.engine.shardOfProduct(id), FROM, 'it is where PostgreSQL has it')
  t.match(await app.readProduct(id), { name: 'Boot', stock: { total: UNITS, pending: 1, sold: 2 } })
  t.match(await app.readOrder(paid.order_id), { payment_status: 'paid' })
  t.match(await app.paid(unpaid.order_id, 'success'), { outcome: 'applied' })
  const { available } = await app.stock(id)
  t.equal(available, 2)
  await app.order(await app.hold(id, available))
  t.match(await app.call('POST', '/api/holds', { product_id: id, qty: 1 }), { status: 409 })
  await app.agree(t, 'afterwards')
  for (const shard of [FROM, TO]) {
    const { is_clean, products, differences } = await verifyShard(app.engine, app.service.db, shard, wait)
    t.ok(is_clean, `verify finds no difference in shard ${shard}`, { products, differences })
  }
}

t.test('every running process follows where PostgreSQL has lost a move', async (t) => {
  const shop = await openShop(t)
  const [app, other] = [await shop.open(env), await shop.open(env)]
  const sold = await sellMoved(t, shop, app)
  await until('both know', async () => (await other.call('GET', `/api/products/${sold.id}`)).status === 200)
  const epochs = [FROM, TO].map((shard) => app.engine.fence.epoch(shard))
  await shop.postgres.goBack()
  const services = [app, other]
  await until('it is noticed', () => services.some(({ log }) => log.some((line) => PAST.test(line))))
  const areNew = ({ engine }: App) =>
    [FROM, TO].every((shard, at) => (engine.fence.lastEpoch(shard) ?? 0) > (epochs[at] ?? 0))
  await until('both have gone on', () => services.every(areNew))
  await checkMoved(t, other, sold)
  t.match(await app.stock(sold.id), { available: 0, pending: 2, sold: 3 })
  const { code, output } = await verify({ ...shop.urls, env })
  t.equal(code, 0, output)
  t.match(output, /lost, shard 0, found \S+: product 1 had moved to shard 0, and is in shard 1 again/)
})

/** PostgreSQL comes back from the past while somebody who stands still is about to open a shard. Returns what lets it be opened. */
async function goBackWithout(t: Test, shop: Shop, shard: number): Promise<() => Promise<unknown>> {
  shop.way.refuse(true)
  shop.way.cut()
  await shop.postgres.goBack()
  const slow = new pg.Client({ connectionString: shop.urls.database_url })
  await slow.connect()
  t.teardown(() => slow.end())
  await slow.query('select pg_advisory_lock($1)', [lockOf(shard)])
  shop.way.refuse(false)
  return () => slow.query('select pg_advisory_unlock($1)', [lockOf(shard)])
}

/** Nobody gets units of a product before the other shard was heard. */
async function waits(app: App, product_id: number): Promise<void> {
  await until('it waits', () => app.log.some((line) => line.includes(`product ${product_id} may have been`)))
  const { status } = await app.call('POST', '/api/holds', { product_id, qty: 1 })
  if (status !== 503) throw new Error(`a hold is answered ${status} before the other shard was heard`)
}

t.test('nor where the product has come back from there since', async (t) => {
  const shop = await openShop(t)
  const app = await shop.open(env)
  const body = { name: 'Shoe', unit_amount: 9900, currency: 'USD', total_stock: UNITS }
  const { id } = await app.expect<{ id: number }>(201, app.call('POST', '/api/products', body))
  await until('the journal is empty', async () => (await app.redis.xlen(journal(app, FROM))) === 0)
  await shop.postgres.keep()
  await isReady(app)
  const mover = openMover(t, app, undefined, shop.urls.redis_url)
  await mover.move([id], TO)
  await isWhole(app)
  const paid = await app.order(await app.hold(id, 2))
  await app.paid(paid.order_id, 'success')
  await mover.move([id], FROM)
  await isWhole(app)
  t.match(await app.stock(id), { available: 3, sold: 2 })

  const goOn = await goBackWithout(t, shop, TO)
  await waits(app, id)
  await goOn()
  await isWhole(app)
  t.match(await app.readOrder(paid.order_id), { payment_status: 'paid' })
  t.match(await app.stock(id), { available: 3, sold: 2 })
  await app.agree(t, 'afterwards')
})

t.test('what was bought of a product counts for its limit where PostgreSQL has lost its move', async (t) => {
  const LIMIT = 3
  const shop = await openShop(t)
  const app = await shop.open(env)
  const body = { name: 'Shoe', unit_amount: 9900, currency: 'USD', total_stock: 20, max_per_customer: LIMIT }
  const { id } = await app.expect<{ id: number }>(201, app.call('POST', '/api/products', body))
  await until('the journal is empty', async () => (await app.redis.xlen(journal(app, FROM))) === 0)
  await shop.postgres.keep()
  await isReady(app)
  await openMover(t, app, undefined, shop.urls.redis_url).move([id], TO)
  await isWhole(app)
  for (let times = 0; times < 3; times += 1) {
    await app.redis.unlink(app.engine.keys.shard(TO, 'epoch'))
    await isWhole(app)
  }
  const hold = (qty: number) => app.call('POST', '/api/holds', { product_id: id, qty, customer_id: 'ada' })
  const { order_id } = await app.order(await app.hold(id, LIMIT, { customer_id: 'ada' }))
  await app.paid(order_id, 'success')
  await until('the journal is empty', async () => (await app.redis.xlen(journal(app, TO))) === 0)
  t.match(await hold(1), { status: 409, body: { code: 'limit_exceeded' } })
  const epochs = [FROM, TO].map((shard) => app.engine.fence.epoch(shard))
  await shop.postgres.goBack()
  await until('both have gone on', () =>
    [FROM, TO].every((shard, at) => (app.engine.fence.lastEpoch(shard) ?? 0) > (epochs[at] ?? 0)),
  )
  await until('it is back', () => app.engine.shardOfProduct(id) === FROM)
  await isWhole(app)
  t.match(await app.readOrder(order_id), { payment_status: 'paid' })
  t.match(await hold(1), { status: 409, body: { code: 'limit_exceeded' } })
})

t.test(
  'the shard that a product has left is not opened before the one that it went to was heard',
  async (t) => {
    const shop = await openShop(t)
    const app = await shop.open(env)
    const sold = await sellMoved(t, shop, app)
    const goOn = await goBackWithout(t, shop, TO)
    await waits(app, sold.id)
    await goOn()
    await checkMoved(t, app, sold)
  },
)
