import t, { type Test } from 'tap'
import { type App, newKey } from '../fixtures/app.ts'
import type { ProductBody } from '../fixtures/resources.ts'
import { until } from '../fixtures/until.ts'
import { checkAll, checkBoth, failOnce, openShop, PAST, sellBefore, sellSince } from './fixtures/past.ts'
import { isReady } from './fixtures/sale.ts'

t.test('a shard that PostgreSQL does not know any more at all is told from its Redis', async (t) => {
  const shop = await openShop(t)
  await shop.postgres.keep()
  const app = await shop.open()
  const before = await sellBefore(app)
  const since = await sellSince(app, before)
  const epoch = app.engine.fence.epoch(0)
  shop.way.refuse(true)
  shop.way.cut()
  await shop.postgres.goBack()
  const { query } = shop.postgres.database
  t.same(await query('select shard from shards'), [], 'it has no record of the shard')
  t.same(await query('select id from products'), [], 'nor of anything in it')
  shop.way.refuse(false)
  await until('it is noticed', () => app.log.some((line) => PAST.test(line)))
  await isReady(app)
  t.ok(app.engine.fence.epoch(0) > epoch, 'no epoch comes twice')
  await checkAll(t, app, before, since)
  t.match(await query('select epoch, behind_since from shards'), [
    { epoch: app.engine.fence.epoch(0), behind_since: null },
  ])
})

const UNITS = 10

/** Units were added so long ago that Redis has forgotten under which key, and PostgreSQL goes back behind that. */
async function loseUnnamed(t: Test) {
  const shop = await openShop(t)
  const app = await shop.open()
  const body = { name: 'Shoe', unit_amount: 9900, currency: 'USD', total_stock: UNITS }
  const { id } = await app.expect<ProductBody>(201, app.call('POST', '/api/products', body))
  await shop.postgres.keep()
  await isReady(app)
  const key = newKey()
  const headers = { 'idempotency-key': key }
  await app.expect(200, app.call('POST', `/api/products/${id}/stock`, { delta: 5 }, { headers }))
  const order = await app.order(await app.hold(id, UNITS + 3))
  await until('the journal is empty', async () => (await app.journal()) === 0)
  t.equal(await shop.server.redis.del(app.engine.keys.idem(0, `stock:${id}`, key)), 1)
  await app.close()
  await shop.postgres.goBack()
  return { shop, id, order }
}

const changesOf = (app: App) => app.sql('select delta::int from stock_adjustments where delta <> 0')
const lossesOf = (app: App) => app.sql(`select what from losses where what like 'Redis had%'`)

for (const [what, breaks_off] of [
  ['units that no key explains are written again from the Redis that the shard had', false],
  ['also where that broke off and another process takes it up', true],
] as const) {
  t.test(what, async (t) => {
    const { shop, id, order } = await loseUnnamed(t)
    if (breaks_off)
      await failOnce(shop.postgres.database.query, [
        ['orders', 'insert on orders for each statement'],
        ['stock_adjustments', 'insert on stock_adjustments for each statement'],
      ])
    const app = await shop.open()
    t.match(await app.stock(id), { total: UNITS + 5, available: 2, pending: UNITS + 3 })
    t.match(await app.readOrder(order.order_id), { order_status: 'pre-payment' })
    t.same(await changesOf(app), [{ delta: 5 }])
    t.same(await lossesOf(app), [])
    await checkBoth(t, app, 'afterwards')
  })
}

t.test('a Redis that may have lost changes itself is not believed: an operator is told', async (t) => {
  const { shop, id, order } = await loseUnnamed(t)
  await shop.server.kill()
  await shop.server.start()
  const app = await shop.open()
  t.match(await app.stock(id), { total: UNITS, available: UNITS, pending: 0 })
  t.same(await changesOf(app), [])
  const losses = await lossesOf(app)
  t.match(losses, [{ what: /^Redis had 5 units more of product 1 / }, { what: new RegExp(order.order_id) }])
  await checkBoth(t, app, 'afterwards')
})
