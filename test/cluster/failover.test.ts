import t, { type Test } from 'tap'
import { createEngine } from '../../src/engine/engine.ts'
import { oneNode } from '../../src/engine/nodes.ts'
import { slotOfShard } from '../../src/engine/slots.ts'
import { checkSale, createClient, newLedger } from '../faults/fixtures/sale.ts'
import type { App } from '../fixtures/app.ts'
import type { ClusterNode } from '../fixtures/cluster.ts'
import { connect } from '../fixtures/connect.ts'
import { until } from '../fixtures/until.ts'
import {
  areSoonOpen,
  isPromoted,
  masterOf,
  moveSlot,
  openShop,
  SHARDS,
  type Shop,
  sellAll,
  shardsOf,
} from './fixtures/shop.ts'

const all = Array.from({ length: SHARDS }, (_, shard) => shard)

const areOpen = (app: App, shards: number[]) => shards.every((shard) => app.engine.fence.isOpen(shard))

const replicaOf = ({ cluster }: Shop, master: ClusterNode): ClusterNode => {
  const found = cluster.replicas[cluster.masters.indexOf(master)]
  if (!found) throw new Error('it is no master of the beginning')
  return found
}

t.test('a master that is killed under load takes nothing with it that was acknowledged', async (t) => {
  const shop = await openShop(t)
  const { app, cluster } = shop
  const sale = sellAll(shop)
  await sale.sells(30)
  const master = await masterOf(cluster, 0)
  const replica = replicaOf(shop, master)
  const lost = await shardsOf(cluster, master)
  const others = all.filter((shard) => !lost.includes(shard))
  await master.kill()
  await until('its shards close', () => lost.every((shard) => !app.engine.fence.isOpen(shard)))
  t.ok(areOpen(app, others), 'those of the other masters stay open')
  const ready = await app.call('GET', '/readyz')
  t.match(
    ready,
    { status: 200, body: { data: { status: 'degraded' } } },
    'the process is of use all the same',
  )
  for (const shard of lost)
    t.match(ready.text, new RegExp(`shard ${shard}: closed`), 'and says what is closed')
  const rest = await sellingOf(app, shop.products[others[0] ?? 0] ?? 0)
  t.ok(rest, 'the others go on selling')

  await isPromoted(replica)
  await areSoonOpen(t, app, all, 'after the promotion')
  await sale.sells(30)
  await checkSale(t, app, await sale.stop())

  master.start()
  await until(
    'the old master is a replica',
    async () => (await master.role().catch(() => '')) === 'slave',
    30_000,
  )
  const again = sellAll(shop)
  await again.sells(20)
  await checkSale(t, app, await again.stop(), 'with the old master back')
})

async function sellingOf(app: App, product: number): Promise<boolean> {
  const client = createClient(app, newLedger())
  return (await client.order(await client.held(product))) !== undefined
}

/** A product of which Redis has lost all that became of it, with the master it was on. */
async function loseWrites(t: Test) {
  const shop = await openShop(t)
  const { app, cluster } = shop
  const master = await masterOf(cluster, 0)
  const replica = replicaOf(shop, master)
  const product = await app.product(2, { shard: 0 })
  const client = createClient(app, newLedger())
  const early = await client.held(product)
  await until('the replica has it', async () => (await offset(master)) === (await offset(replica)))
  replica.pause()
  await master.redis.call('CLIENT', 'KILL', 'TYPE', 'replica')
  await client.release(early.hold_id)
  const order = await client.ordered(product)
  await client.pay(order.order_id, 'success')
  const late = await client.held(product)
  await until('the journal is empty', async () => (await app.journal()) === 0)
  return { ...shop, master, replica, product, early, late, order }
}

const offset = async ({ redis }: ClusterNode) =>
  /(?:master|slave)_repl_offset:(\d+)/.exec(await redis.info('replication'))?.[1]

t.test('what a promoted replica was never told is not sold again', async (t) => {
  const { app, master, replica, product, early, late, order } = await loseWrites(t)
  await master.kill()
  replica.resume()
  await isPromoted(replica)
  await areSoonOpen(t, app, [0], 'after the promotion')
  t.match(await app.readOrder(order.order_id), { payment_status: 'paid' }, 'the order is there')
  t.match(await app.stock(product), { total: 2, sold: 1, held: 1, available: 0 })
  t.equal(
    (await app.call('GET', `/api/holds/${late.hold_id}`)).status,
    404,
    'a hold that it was never told of is gone',
  )
  t.match(
    await app.call('GET', `/api/holds/${early.hold_id}`),
    { status: 200 },
    'one whose end it was not told of lives',
  )
  const client = createClient(app, newLedger())
  t.notOk(await client.hold(product), 'there is no other unit')
  await app.agree(t, 'afterwards')
})

t.test('control: a client that trusts the promoted replica sells a unit twice', async (t) => {
  const { app, cluster, master, replica, product } = await loseWrites(t)
  const { prefix, installation, hold_ttl_ms, order_ttl_ms } = app.engine
  const epoch = app.engine.fence.epoch(0)
  await app.close()
  await master.kill()
  replica.resume()
  await isPromoted(replica)
  const redis = connect(cluster.address)
  t.teardown(() => redis.disconnect())
  const nodes = oneNode(redis)
  const trusting = createEngine({ nodes, installation, shards: SHARDS, prefix, hold_ttl_ms, order_ttl_ms })
  trusting.knowProduct(product, 0, null)
  trusting.fence.open(0, epoch)
  const place = () =>
    trusting
      .placeHold({ items: [{ product_id: product, qty: 1 }], customer_id: null, idem: null })
      .catch((error: Error) => ({ status: error.message }))
  await until('a hold', async () => (await place()).status === 'placed')
  const [row] = await app.sql<{ committed: number }>('select committed from products where id = $1', [
    product,
  ])
  const held = (await trusting.readProduct(product))?.stock.held ?? 0
  t.ok((row?.committed ?? 0) + held > 2, 'more units are held and sold than there are')
})

t.test('a planned failover and a slot that moves cost nothing but refusals that are soon over', async (t) => {
  const shop = await openShop(t)
  const { app, cluster } = shop
  const sale = sellAll(shop)
  await sale.sells(20)
  const replica = replicaOf(shop, await masterOf(cluster, 1))
  await replica.redis.call('CLUSTER', 'FAILOVER')
  await isPromoted(replica)
  await areSoonOpen(t, app, all, 'after the planned failover')
  await sale.sells(20)
  const from = await masterOf(cluster, 2)
  const to = cluster.nodes.find(
    (node) => node !== from && [replica, ...cluster.masters].includes(node),
  ) as ClusterNode
  const target = (await to.role()) === 'master' ? to : await masterOf(cluster, 3)
  const product = shop.products[2] ?? 0
  await moveSlot(cluster, slotOfShard(2), target, async () => {
    const reply = await app.call('POST', '/api/holds', { product_id: product, qty: 1 })
    t.equal(reply.status, 503, 'while some keys are here and some there, its shard is refused')
    t.ok(reply.headers['retry-after'], 'for a moment')
    t.ok(await sellingOf(app, shop.products[1] ?? 0), 'and the others are sold')
  })
  await until('the slot is there', async () => (await masterOf(cluster, 2)) === target)
  await sale.sells(30)
  await areSoonOpen(t, app, all, 'after the slot has moved')
  const ledger = await sale.stop()
  await checkSale(t, app, ledger)
  t.same([...ledger.refused.keys()], [503], 'nothing but 503')
})
