import t from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { openOwnPostgres } from './fixtures/own-postgres.ts'
import { openOwnRedis } from './fixtures/own-redis.ts'
import {
  ANSWERED_WITHIN_MS,
  checkSale,
  createClient,
  isReady,
  newLedger,
  newPrefix,
  startSale,
} from './fixtures/sale.ts'

t.test(
  'whatever happens to PostgreSQL, holds go on, orders wait, and nothing acknowledged is lost',
  async (t) => {
    const server = await openOwnRedis(t)
    const postgres = await openOwnPostgres(t)
    const { database } = postgres
    const app = await build(t, {
      sweeper: true,
      beside: { prefix: newPrefix(), database, redis: server.redis },
      redis_url: server.url,
      database_url: database.url,
    })
    await until('it has warmed up', async () => (await app.call('GET', '/api/products')).status === 200)
    const faults = [
      { what: 'stands still', begin: postgres.pause, end: async () => postgres.resume() },
      { what: 'crashes and is started again', begin: postgres.crash, end: postgres.start },
    ]
    for (const { what, begin, end } of faults) {
      await t.test(`while PostgreSQL ${what}`, async (t) => {
        const product = await app.product(2_000)
        const ledger = newLedger()
        const client = createClient(app, ledger)
        const pending = await client.ordered(product)
        const hold = await client.held(product)
        const sale = startSale([app], product, { buyers: 4, ledger })
        await sale.sells(5)
        await begin()

        const key = newKey()
        const [order, paid, cancelled, placed, read] = await Promise.all([
          app.call('POST', '/api/orders', { hold_id: hold.hold_id }, { headers: { 'idempotency-key': key } }),
          app.pay(pending.order_id, 'success', {}, `pay-${key}`),
          app.call('DELETE', `/api/orders/${pending.order_id}`),
          client.hold(product),
          app.call('GET', `/api/products/${product}`),
        ])
        for (const reply of [order, paid, cancelled]) {
          t.match(reply, { status: 503, headers: { 'retry-after': /^\d+$/ } })
          t.ok(reply.took_ms < ANSWERED_WITHIN_MS, `after ${Math.round(reply.took_ms)} ms`)
        }
        t.ok(placed, 'holds go on')
        t.ok(read.status === 200 || read.status === 503, 'reads are answered')
        t.equal((await app.call('GET', `/api/holds/${placed?.hold_id}`)).status, 200)
        t.ok(app.engine.fence.isOpen(0), 'the fence stays open')

        await end()
        await isReady(app)
        await sale.sells(5)
        await sale.stop()
        t.equal((await client.order(hold, key))?.order_id, hold.order_id, 'the retry gets its order')
        const orders = await database.query('select id from orders where id = $1', [hold.order_id])
        t.equal(orders.length, 1, 'and it is the only one')
        await until('the journal is finished', async () => (await app.journal()) === 0)
        await checkSale(t, app, ledger, `after it ${what}`)
      })
    }
  },
)
