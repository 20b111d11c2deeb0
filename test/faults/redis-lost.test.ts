import t from 'tap'
import { until } from '../fixtures/until.ts'
import { buildFaulty } from './fixtures/faulty-app.ts'
import { checkSale, createClient, isReady, newLedger, startSale } from './fixtures/sale.ts'

const BUYERS = 6
const UNITS = 5_000
/** The append-only file is synced every second. */
const SYNCED_AFTER_MS = 1_100

t.test('Redis killed with kill -9 under load comes back with its holds, and the sale goes on', async (t) => {
  const { app, server } = await buildFaulty(t)
  const product = await app.product(UNITS)
  const sale = startSale([app], product, { buyers: BUYERS })
  await sale.sells(5)
  const kept = await Promise.all(Array.from({ length: 20 }, () => app.hold(product)))
  const since_ms = performance.now()
  await until('the file is synced', () => performance.now() - since_ms > SYNCED_AFTER_MS)
  await server.kill()
  t.equal((await app.call('POST', '/api/holds', { product_id: product, qty: 1 })).status, 503)
  await server.start()
  await isReady(app)
  await sale.sells(10)
  for (const { hold_id } of kept) {
    t.equal((await app.call('GET', `/api/holds/${hold_id}`)).status, 200, 'a hold survives')
  }
  await app.order(kept[0] as { hold_id: string })
  await checkSale(t, app, await sale.stop())
})

t.test(
  'Redis started again with nothing is rebuilt from PostgreSQL by itself, and no unit is sold twice',
  async (t) => {
    const { app, server } = await buildFaulty(t)
    const product = await app.product(UNITS)
    const sale = startSale([app], product, { buyers: BUYERS })
    await sale.sells(10)
    const hold = await app.hold(product)
    await server.kill()
    await server.restoreAof()
    await server.start()
    await isReady(app)
    t.match([404, 410].includes((await app.call('GET', `/api/holds/${hold.hold_id}`)).status), true)
    await sale.sells(10)
    await checkSale(t, app, await sale.stop())
  },
)

t.test(
  'FLUSHALL under load closes the fence, rebuilds the shard and opens it again, each time',
  async (t) => {
    const { app, server } = await buildFaulty(t)
    const product = await app.product(UNITS)
    const sale = startSale([app], product, { buyers: BUYERS })
    for (let time = 0; time < 3; time += 1) {
      await sale.sells(5)
      await server.redis.flushall()
      await sale.sells(5)
    }
    await checkSale(t, app, await sale.stop())
    t.equal(
      app.log.filter((line) => /rebuilding as epoch/.test(line)).length,
      4,
      'at the start and after each loss',
    )
  },
)

t.test("after the loss of the last unit's order Redis says sold out, as PostgreSQL does", async (t) => {
  const { app, server } = await buildFaulty(t)
  const product = await app.product(3)
  const client = createClient(app, newLedger())
  const ledger = newLedger()
  const buyer = createClient(app, ledger)
  for (let at = 0; at < 3; at += 1) {
    const hold = await buyer.hold(product)
    const order = hold && (await buyer.order(hold))
    if (order && at === 0) await buyer.pay(order.order_id, 'success')
  }
  await server.redis.flushall()
  t.notOk(await client.hold(product), 'nobody gets a unit')
  t.match(await app.stock(product), { available: 0, held: 0, pending: 2, sold: 1 })
  await checkSale(t, app, ledger)
})

for (const key of ['epoch', 'products'] as const) {
  t.test(`the loss of the key ${key} alone under load is noticed and mended`, async (t) => {
    const { app, server } = await buildFaulty(t)
    const product = await app.product(UNITS)
    const sale = startSale([app], product, { buyers: BUYERS })
    await sale.sells(5)
    const hold = await app.hold(product)
    await server.redis.del(app.engine.keys.shard(0, key))
    await sale.sells(5)
    t.equal((await app.call('GET', `/api/holds/${hold.hold_id}`)).status, 200, 'the holds are kept')
    await checkSale(t, app, await sale.stop())
  })
}
