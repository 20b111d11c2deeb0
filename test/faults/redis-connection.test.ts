import t from 'tap'
import { newKey } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { buildFaulty, type FaultyApp } from './fixtures/faulty-app.ts'
import {
  ANSWERED_WITHIN_MS,
  checkSale,
  createClient,
  isReady,
  newLedger,
  startSale,
} from './fixtures/sale.ts'

const BUYERS = 6
const UNITS = 5_000
/** A connection that carries nothing is given up on after 2.5 s. */
const GIVEN_UP_WITHIN_MS = 6_000

const rebuilt = ({ app }: FaultyApp) => app.log.filter((line) => /rebuilt in/.test(line)).length

t.test('that Redis forgets its scripts under load is noticed by nobody', async (t) => {
  const faulty = await buildFaulty(t)
  const { app, server } = faulty
  const product = await app.product(UNITS)
  const sale = startSale([app], product, { buyers: BUYERS })
  for (let time = 0; time < 5; time += 1) {
    await sale.sells(3)
    await server.redis.script('FLUSH')
  }
  const ledger = await sale.stop()
  t.equal(rebuilt(faulty), 1, 'the shard was built once, at the start')
  await checkSale(t, app, ledger)
})

t.test(
  'a connection to Redis that is cut under load loses nothing, and no shard is rebuilt for it',
  async (t) => {
    const faulty = await buildFaulty(t)
    const { app, proxy } = faulty
    const product = await app.product(UNITS)
    const sale = startSale([app], product, { buyers: BUYERS })
    for (let time = 0; time < 5; time += 1) {
      await sale.sells(3)
      proxy.cut()
    }
    await sale.sells(3)
    const ledger = await sale.stop()
    t.equal(rebuilt(faulty), 1)
    await checkSale(t, app, ledger)
  },
)

t.test('a request whose reply from Redis was lost is answered 503 in time, and has one effect', async (t) => {
  const { app, proxy } = await buildFaulty(t, { sweeper: false })
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(10)
  // From the first order on Redis knows the scripts, so that one reply is all there is.
  await client.ordered(product)
  const { hold_id } = await client.held(product)
  const places = { headers: { 'idempotency-key': newKey() } }
  const orders = { headers: { 'idempotency-key': newKey() } }
  const hold = () => app.call('POST', '/api/holds', { product_id: product, qty: 1 }, places)
  const order = () => app.call('POST', '/api/orders', { hold_id }, orders)
  const stock = { available: 7, held: 1, pending: 2 }
  proxy.swallow()
  const lost = await Promise.all([hold(), order()])
  t.same(
    lost.map(({ status }) => status),
    [503, 503],
  )
  t.ok(lost.every(({ took_ms }) => took_ms < ANSWERED_WITHIN_MS))
  t.ok(proxy.hasSwallowed(), 'Redis did answer')
  proxy.pass()
  await isReady(app)
  t.match(await app.stock(product), stock, 'each ran once')
  for (const again of [await hold(), await order()]) {
    t.match(again, { status: 201, headers: { 'idempotency-replayed': 'true' } })
  }
  t.match(await app.stock(product), stock)
  await checkSale(t, app, ledger)
})

t.test('while Redis stands still every request is answered in time, and nothing runs twice', async (t) => {
  const { app, server } = await buildFaulty(t)
  const product = await app.product(UNITS)
  const sale = startSale([app], product, { buyers: 40 })
  await sale.sells(10)
  server.pause()
  const { refused } = sale.ledger
  await until('buyers were refused', () => (refused.get(503) ?? 0) >= 80)
  server.resume()
  await isReady(app)
  await sale.sells(10)
  await checkSale(t, app, await sale.stop())
})

t.test(
  'a machine that is gone without a word is given up on, and the sale goes on with the next',
  async (t) => {
    const faulty = await buildFaulty(t)
    const { app, proxy } = faulty
    const product = await app.product(UNITS)
    const sale = startSale([app], product, { buyers: 2 })
    await sale.sells(3)
    proxy.freeze()
    const started_ms = performance.now()
    await sale.sells(3)
    const took_ms = Math.round(performance.now() - started_ms)
    t.ok(took_ms < GIVEN_UP_WITHIN_MS, `it took ${took_ms} ms`)
    t.equal(rebuilt(faulty), 1)
    await checkSale(t, app, await sale.stop())
  },
)
