import t from 'tap'
import { build } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { buildFaulty } from './fixtures/faulty-app.ts'
import { openFaultyProxy } from './fixtures/faulty-proxy.ts'
import { checkSale, createClient, isReady, newLedger, startSale } from './fixtures/sale.ts'

t.test(
  'of two services that lose Redis under load one rebuilds, the other waits for it and goes on',
  async (t) => {
    const { app, server } = await buildFaulty(t)
    const beside = { prefix: app.prefix, database: app.database, redis: server.redis }
    const other = await build(t, { beside, redis_url: server.url, sweeper: true })
    const product = await app.product(5_000)
    const sale = startSale([app, other], product, { buyers: 6 })
    const rebuilds = () =>
      [...app.log, ...other.log].filter((line) => /rebuilding as epoch/.test(line)).length
    for (const lose of [() => server.redis.flushall(), () => server.kill().then(() => server.start())]) {
      await sale.sells(5)
      const before = rebuilds()
      await lose()
      await Promise.all([isReady(app), isReady(other)])
      await sale.sells(5)
      t.equal(rebuilds(), before + 1, 'it is rebuilt once')
    }
    await checkSale(t, app, await sale.stop())
  },
)

t.test('what one service commits after another has rebuilt the shard counts on both sides', async (t) => {
  const { app, server } = await buildFaulty(t, { sweeper: false })
  const beside = { prefix: app.prefix, database: app.database, redis: server.redis }
  const slow = await openFaultyProxy(t, app.database.url)
  const other = await build(t, { beside, redis_url: server.url, database_url: slow.url })
  const ledger = newLedger()
  const product = await app.product(2)
  const hold = await createClient(other, ledger).held(product)
  await createClient(app, ledger).ordered(product)
  slow.stall()
  const late = other.call('POST', '/api/orders', { hold_id: hold.hold_id })
  await until('the step is done', async () => (await app.journal()) === 1)
  await server.redis.flushall()
  await isReady(app)
  slow.flow()
  const reply = await late
  await isReady(other)
  const orders = await app.sql('select 1 from orders where id = $1', [hold.order_id])
  t.equal(orders.length, reply.status === 201 ? 1 : 0, `it was answered ${reply.status}`)
  await checkSale(t, app, ledger)
})
