import t, { type Test } from 'tap'
import { createEngine } from '../../src/engine/engine.ts'
import { parseEpoch } from '../../src/engine/epochs.ts'
import { oneNode } from '../../src/engine/nodes.ts'
import type { App } from '../fixtures/app.ts'
import { conservation } from '../fixtures/conservation.ts'
import { until } from '../fixtures/until.ts'
import { buildFaulty } from './fixtures/faulty-app.ts'
import { type OwnRedis, openOwnRedis } from './fixtures/own-redis.ts'
import { checkSale, createClient, isReady, type Ledger, newLedger, startSale } from './fixtures/sale.ts'

const NOTICED_WITHIN_MS = 2_500

/** A Redis that has gone back to the moment before three units were ordered, one of them paid and one order cancelled. */
async function openRolledBack(t: Test) {
  const { app, server, proxy } = await buildFaulty(t, { sweeper: false })
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(4)
  const cancelled = await app.order(await app.hold(product))
  const holds = await Promise.all(Array.from({ length: 3 }, () => app.hold(product)))
  await until('the journal is empty', async () => (await app.journal()) === 0)
  await server.saveAof('before')
  await client.cancel(cancelled.order_id)
  const orders = []
  for (const hold of holds) orders.push(await client.order(hold))
  await client.pay(orders[0]?.order_id ?? '', 'success')
  const last = await client.hold(product)
  await until('the journal is empty', async () => (await app.journal()) === 0)
  await server.kill()
  await server.restoreAof('before')
  return { app, server, proxy, ledger, client, product, holds, orders, cancelled, last }
}

const unitsInUse = async (app: App, product: number) => {
  const [row] = await app.sql<{ committed: number }>('select committed from products where id = $1', [
    product,
  ])
  return row?.committed ?? 0
}

t.test(
  'an order that Redis has forgotten still owns its units, and what it forgot to cancel does not',
  async (t) => {
    const { app, server, ledger, client, product, holds, orders, cancelled, last } = await openRolledBack(t)
    await server.start()
    await isReady(app)
    t.match(await app.stock(product), { available: 1, held: 0, pending: 2, sold: 1, total: 4 })
    t.match(await app.readOrder(orders[0]?.order_id ?? ''), { payment_status: 'paid' })
    t.match(
      await app.readOrder(cancelled.order_id),
      { order_status: 'cancelled' },
      'no stale order comes back',
    )
    for (const { hold_id } of holds) {
      const reply = await app.call('POST', '/api/orders', { hold_id })
      t.match(reply, { status: 409, body: { code: 'hold_already_used' } }, 'no hold becomes a second order')
    }
    t.equal((await app.call('GET', `/api/holds/${last?.hold_id}`)).status, 404, 'the last hold is gone')
    t.ok(await client.hold(product), 'its unit is free')
    t.notOk(await client.hold(product), 'and no other')
    t.match(await client.pay(orders[1]?.order_id ?? '', 'success'), { outcome: 'applied' })
    await checkSale(t, app, ledger)
  },
)

t.test('control: trusted as it is, a Redis that went back sells the same units again', async (t) => {
  const { app, server, product, holds } = await openRolledBack(t)
  await app.service.recovery.close()
  await server.start()
  const { epoch } = parseEpoch(await server.redis.get(app.engine.keys.shard(0, 'epoch')))
  const { prefix, installation, hold_ttl_ms, order_ttl_ms } = app.engine
  const trusting = createEngine({
    nodes: oneNode(server.redis),
    shards: 1,
    prefix,
    installation,
    hold_ttl_ms,
    order_ttl_ms,
  })
  trusting.fence.open(0, epoch)
  await trusting.releaseHold(holds[0]?.hold_id.slice('hld_'.length) ?? '')
  const request = { items: [{ product_id: product, qty: 1 }], customer_id: null, idem: null }
  t.match(await trusting.placeHold(request), { status: 'placed' }, 'a unit that is sold')
  const held = (await trusting.readProduct(product))?.stock.held ?? 0
  t.ok((await unitsInUse(app, product)) + held > 4, 'more units are held and ordered than there are')
})

t.test('another Redis behind a living connection is noticed and not trusted', async (t) => {
  const { app, server, proxy } = await buildFaulty(t)
  const product = await app.product(50)
  const sale = startSale([app], product, { buyers: 2 })
  await sale.sells(5)
  const ledger = await sale.stop()
  await until('the journal is empty', async () => (await app.journal()) === 0)
  // The same data, epoch and all: only the server itself tells the one from the other.
  const other = await openOwnRedis(t)
  await follow(other, server)
  await other.redis.replicaof('NO', 'ONE')
  const lost = await createClient(app, ledger).hold(product)
  const started_ms = performance.now()
  await proxy.retarget(other.url, { living: true })
  // A machine that stands still for seconds breaks the connection as well.
  const notices = /another Redis answers|the connection to Redis was lost/
  await until('the fence closes', () => app.log.some((line) => notices.test(line)))
  t.ok(performance.now() - started_ms < NOTICED_WITHIN_MS, 'soon')
  await isReady(app)
  t.equal(
    (await app.call('GET', `/api/holds/${lost?.hold_id}`)).status,
    404,
    'what it never had is not there',
  )
  await check(t, app, other, ledger)
})

t.test('a replica that took over without the last writes is rebuilt before it sells', async (t) => {
  const { app, server, proxy } = await buildFaulty(t)
  const replica = await openOwnRedis(t)
  const product = await app.product(50)
  await follow(replica, server)
  const sale = startSale([app], product, { buyers: 2 })
  await sale.sells(5)
  const ledger = await sale.stop()
  const client = createClient(app, ledger)
  const kept = await client.hold(product)
  await until('the replica has it', () => isSame(server, replica))
  await replica.redis.replicaof('127.0.0.1', 1)
  const order = await client.ordered(product)
  await client.pay(order.order_id, 'success')
  await server.kill()
  await proxy.retarget(replica.url, { living: false })
  await replica.redis.replicaof('NO', 'ONE')
  await isReady(app)
  t.equal((await app.call('GET', `/api/holds/${kept?.hold_id}`)).status, 200, 'a hold that it had survives')
  await check(t, app, replica, ledger)
  t.match(await app.readOrder(order.order_id), { payment_status: 'paid' })
})

async function isSame(one: OwnRedis, other: OwnRedis): Promise<boolean> {
  const offset = async ({ redis }: OwnRedis) =>
    /(?:master|slave)_repl_offset:(\d+)/.exec(await redis.info('replication'))?.[1]
  return (await offset(one)) === (await offset(other))
}

/** Makes a replica, and waits until it has all that its master has. */
async function follow(replica: OwnRedis, master: OwnRedis): Promise<void> {
  await replica.redis.replicaof('127.0.0.1', master.port)
  const isLinked = async () => /master_link_status:up/.test(await replica.redis.info('replication'))
  await until('the replica follows', async () => (await isLinked()) && (await isSame(master, replica)))
}

/** As checkSale, on the Redis that answers now. */
async function check(t: Test, app: App, { redis }: OwnRedis, ledger: Ledger): Promise<void> {
  const sides = { redis, keys: app.engine.keys, shards: 1, query: app.database.query }
  const agree = async (t: Test, when: string) => {
    await until('agreement', async () => (await conservation(sides)).length === 0).catch(() => {})
    t.same(await conservation(sides), [], `Redis and PostgreSQL agree ${when}`)
  }
  await checkSale(t, { ...app, agree }, ledger)
}
