import t from 'tap'
import { loadScript } from '../../src/engine/scripts.ts'
import { build } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { buildFaulty } from './fixtures/faulty-app.ts'
import { openFaultyProxy } from './fixtures/faulty-proxy.ts'
import { startProgram, startServer } from './fixtures/program.ts'
import { checkSale, newLedger, startSale } from './fixtures/sale.ts'

const DEAD_HOLDS = 5_000
const AT_ONCE = 250
const STOPPED_WITHIN_MS = 10_000
const OPENED_WITHIN_MS = 20_000
/** Programs know no other prefix. */
const prefix = 'hf'

t.test(
  'what a server killed between step and commit left in the journal is finished by another',
  async (t) => {
    const { app, server } = await buildFaulty(t, { prefix })
    const product = await app.product(2_000)
    const to_database = await openFaultyProxy(t, app.database.url)
    const other = await startServer(t, app, { redis_url: server.url, database_url: to_database.url })
    const sale = startSale([other], product, { buyers: 6 })
    await sale.sells(10)
    to_database.stall()
    await until('an order waits for its commit', async () => (await app.journal()) >= 1)
    other.signal('SIGKILL')
    await until('its buyers have noticed', () => other.isGone())
    await until('the journal is finished', async () => (await app.journal()) === 0)
    await sale.sells(10)
    await checkSale(t, app, await sale.stop())
  },
)

t.test(
  'a server that is asked to stop under load finishes what it has begun, and leaves nothing behind',
  async (t) => {
    const { app, server } = await buildFaulty(t, { prefix, sweeper: false })
    const product = await app.product(2_000)
    const other = await startServer(t, app, { redis_url: server.url, database_url: app.database.url })
    const sale = startSale([other], product, { buyers: 6 })
    await sale.sells(10)
    const started_ms = performance.now()
    other.signal('SIGTERM')
    t.equal(await other.exit(), 0)
    t.ok(performance.now() - started_ms < STOPPED_WITHIN_MS, 'in time')
    await until('its buyers have noticed', () => other.isGone())
    await sale.sells(10)
    await checkSale(t, app, await sale.stop())
  },
)

t.test(
  'a sweeper killed in the middle of thousands of dead holds costs no unit and gives none back twice',
  async (t) => {
    const { app, server } = await buildFaulty(t, { prefix, sweeper: false })
    const product = await app.product(DEAD_HOLDS, { hold_ttl_ms: 1 })
    const request = { items: [{ product_id: product, qty: 1 }], customer_id: null, idem: null }
    for (let at = 0; at < DEAD_HOLDS; at += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, () => app.engine.placeHold(request)))
    }
    const left = () => server.redis.zcard(app.engine.keys.shard(0, 'holds'))
    t.equal(await left(), DEAD_HOLDS)

    const proxy = await openFaultyProxy(t, server.url)
    proxy.freezeAfter(loadScript('expire-holds').sha, 6)
    const sweeper = startProgram(t, 'sweeper', { REDIS_URL: proxy.url, DATABASE_URL: app.database.url })
    await until('it is in the middle', () => proxy.hasFrozen(), 20_000)
    sweeper.signal('SIGKILL')
    await sweeper.exit()
    const in_the_middle = await left()
    t.ok(in_the_middle > 0 && in_the_middle < DEAD_HOLDS, `${in_the_middle} are left`)
    t.match(await app.stock(product), { available: DEAD_HOLDS - in_the_middle, held: in_the_middle })

    const beside = { prefix, database: app.database, redis: server.redis }
    await Promise.all([1, 2].map(() => build(t, { beside, redis_url: server.url, sweeper: true })))
    await until('all are taken back', async () => (await left()) === 0)
    t.match(await app.stock(product), { available: DEAD_HOLDS, held: 0, total: DEAD_HOLDS })
    await checkSale(t, app, newLedger())
  },
)

t.test('a shard whose rebuilder lost its power is opened by another process within seconds', async (t) => {
  const { app, server, proxy } = await buildFaulty(t, { prefix })
  const [redis_of, database_of] = [
    await openFaultyProxy(t, server.url),
    await openFaultyProxy(t, app.database.url),
  ]
  const other = await startServer(t, app, { redis_url: redis_of.url, database_url: database_of.url })
  const product = await app.product(20)
  const order = await app.order(await app.hold(product))
  // The other one alone finds that Redis is empty, and comes as far as the first step behind the lock.
  proxy.refuse(true)
  proxy.cut()
  redis_of.freezeAfter(loadScript('clear-shard').sha, 0)
  await server.redis.flushall()
  await until('it is in the middle of a rebuild', async () => {
    await other.call('GET', `/api/orders/${order.order_id}`)
    return redis_of.hasFrozen()
  })
  other.signal('SIGSTOP')
  database_of.freeze()
  const stopped_ms = performance.now()
  proxy.refuse(false)
  await until('the first one opens it', () => app.engine.fence.isOpen(0), OPENED_WITHIN_MS)
  t.comment(`opened after ${Math.round(performance.now() - stopped_ms)} ms`)
  t.match(await app.stock(product), { total: 20, available: 19, pending: 1 })
  const epoch = app.engine.fence.epoch(0)
  other.signal('SIGCONT')
  await until(
    'it is open there as well',
    async () => (await other.call('GET', '/readyz')).status === 200,
    OPENED_WITHIN_MS,
  )
  t.ok(app.engine.fence.isOpen(0) && app.engine.fence.epoch(0) === epoch, 'who comes back leaves it as it is')
  await checkSale(t, app, newLedger())
})
