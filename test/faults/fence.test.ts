import t from 'tap'
import { newKey } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { buildFaulty } from './fixtures/faulty-app.ts'
import { checkSale, createClient, isReady, newLedger } from './fixtures/sale.ts'

/** Later in a second of the Redis clock a step and its loss might fall into two of them. */
const EARLY_MICROS = 200_000

t.test('what was journaled a moment before Redis was lost counts after the rebuild', async (t) => {
  const { app, server, to_database } = await buildFaulty(t, { sweeper: false })
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(10)
  const { hold_id } = await client.held(product)
  const key = newKey()
  await until('a second begins', async () => Number((await server.redis.time())[1]) < EARLY_MICROS)
  to_database.refuse(true)
  to_database.cut()
  const reply = await app.call('POST', '/api/orders', { hold_id }, { headers: { 'idempotency-key': key } })
  t.equal(reply.status, 503)
  t.equal(await app.journal(), 1, 'the step is done, the commit is not')
  to_database.refuse(false)
  await server.redis.del(app.engine.keys.shard(0, 'epoch'))
  t.equal((await app.call('GET', `/api/products/${product}`)).status, 503)
  await isReady(app)
  t.match(await app.stock(product), { available: 9, held: 0, pending: 1 })
  await client.order({ hold_id }, key)
  await checkSale(t, app, ledger)
})

t.test('a shard is not opened while the journal can not be finished', async (t) => {
  const { app, server } = await buildFaulty(t, { sweeper: false })
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(10)
  const { hold_id } = await client.held(product)
  const key = newKey()
  // Orders can not be written, though everything can be read: another transaction has the table.
  await app.sql('begin')
  await app.sql('lock table orders in share mode')
  const reply = await app.call('POST', '/api/orders', { hold_id }, { headers: { 'idempotency-key': key } })
  t.equal(reply.status, 503)
  await server.redis.del(app.engine.keys.shard(0, 'epoch'))
  t.equal((await app.call('GET', `/api/products/${product}`)).status, 503)
  await until('the recovery has tried', () => app.log.some((line) => /can not be opened yet/.test(line)))
  t.notOk(app.engine.fence.isOpen(0))
  await app.sql('rollback')
  await isReady(app)
  t.match(await app.stock(product), { available: 9, held: 0, pending: 1 })
  await client.order({ hold_id }, key)
  await checkSale(t, app, ledger)
})

t.test('a fence that closes again in the moment in which it opens is opened once more', async (t) => {
  const { app, server } = await buildFaulty(t)
  const product = await app.product(10)
  const { fence } = app.engine
  const { open } = fence
  let closings = 0
  fence.open = (shard, epoch) => {
    open(shard, epoch)
    if (closings < 2) fence.close(shard, 'it was lost again', 'state')
    closings += 1
  }
  await server.redis.flushall()
  t.equal((await app.call('GET', `/api/products/${product}`)).status, 503)
  await isReady(app)
  t.ok(closings > 2)
  await checkSale(t, app, newLedger())
})

t.test(
  'that PostgreSQL refused an order is not forgotten while the connection to Redis is lost',
  async (t) => {
    const { app, proxy } = await buildFaulty(t)
    const product = await app.product(10)
    const rebuilt = () => app.log.filter((line) => /rebuilt in/.test(line)).length
    const before = rebuilt()
    proxy.refuse(true)
    proxy.cut()
    await until('the fence closes', () => !app.engine.fence.isOpen(0))
    app.engine.fence.close(0, 'PostgreSQL refused an order', 'wrong')
    proxy.refuse(false)
    await isReady(app)
    t.equal(rebuilt(), before + 1)
    t.match(await app.stock(product), { available: 10 })
    await checkSale(t, app, newLedger())
  },
)

t.test('an order that the floor of PostgreSQL refuses is undone, and the shard is rebuilt', async (t) => {
  const { app } = await buildFaulty(t)
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(3)
  const first = await client.ordered(product)
  const holds = [await client.held(product), await client.held(product)]
  // Redis sells what is not there: somebody has taken two of three units out of PostgreSQL.
  await app.sql('update products set total = 1 where id = $1', [product])
  const key = newKey()
  const order = (at: number) =>
    app.call('POST', '/api/orders', { hold_id: holds[at]?.hold_id }, { headers: { 'idempotency-key': key } })
  t.match(await order(0), { status: 409, body: { code: 'insufficient_stock' } })
  t.ok(
    app.log.some((line) => /PostgreSQL refused order/.test(line)),
    'the alarm rings',
  )
  await isReady(app)
  t.match(await app.stock(product), { total: 1, available: 0, held: 0, pending: 1 })
  const again = await order(0)
  t.not(again.status, 201, 'asked again, nobody is told that the order exists')
  t.match([404, 409, 410].includes(again.status), true, String(again.status))
  const dropped = await app.call('GET', `/api/holds/${holds[1]?.hold_id}`)
  t.equal(dropped.status, 410, 'a hold for which there is no unit is dropped')
  t.equal((await app.call('GET', `/api/orders/ord_${holds[0]?.hold_id.slice(4)}`)).status, 404)
  await client.pay(first.order_id, 'success')
  await checkSale(t, app, ledger)
})
