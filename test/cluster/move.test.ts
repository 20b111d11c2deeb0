import t, { type Test } from 'tap'
import { moveShard } from '../../src/engine/move.ts'
import { slotOfShard } from '../../src/engine/slots.ts'
import { checkSale, createClient } from '../faults/fixtures/sale.ts'
import type { App } from '../fixtures/app.ts'
import { start } from '../fixtures/program.ts'
import { areSoonOpen, masterOf, openShop, type Shop, sellAll } from './fixtures/shop.ts'

/** The product that moves is that of this shard, and lives there alone. */
const SHARD = 1

/** Runs the command; resolves with how it ended and what it said. */
async function move(t: Test, { cluster, app }: Shop, product: number | undefined, to: string | undefined) {
  const env = { REDIS_CLUSTER_NODES: cluster.list, DATABASE_URL: app.database.url }
  const args = ['--product', String(product), '--to', String(to)]
  const { ended, output } = start(t, 'move-product', env, { args })
  return { code: (await ended).code, said: output.stdout + output.stderr }
}

async function epochs({ database }: App): Promise<number[]> {
  const rows = await database.query<{ epoch: number }>('select epoch from shards order by shard')
  return rows.map(({ epoch }) => Number(epoch))
}

t.test(
  'a product moves from master to master while it is sold, with its holds and unpaid orders',
  async (t) => {
    const shop = await openShop(t)
    const { app, cluster, products } = shop
    const product = products[SHARD] ?? 0
    const moving = sellAll({ app, products: [product] })
    const others = sellAll({ app, products: products.filter((id) => id !== product) })
    const client = createClient(app, moving.ledger)
    const before = await epochs(app)
    const first = await masterOf(cluster, SHARD)
    const other = cluster.masters.find((master) => master !== first)
    for (const master of other ? [other, first] : []) {
      const hold = await client.held(product)
      const unpaid = await client.ordered(product)
      await moving.sells(10)
      const { code, said } = await move(t, shop, product, master.name)
      t.equal(code, 0)
      t.match(said, new RegExp(`moved shard 1 with product ${product}, \\d+ keys, .* to ${master.name}`))
      t.equal(await masterOf(cluster, SHARD), master)
      await areSoonOpen(t, app, [SHARD], 'after the move')
      t.ok(await client.order(hold), 'a hold of before becomes an order')
      t.match(
        await client.pay(unpaid.order_id, 'success'),
        { outcome: 'applied' },
        'an order of before is paid',
      )
      await moving.sells(10)
    }
    const ledgers = [await moving.stop(), await others.stop()]
    for (const ledger of ledgers) await checkSale(t, app, ledger)
    t.same([...moving.ledger.refused.keys()], [503], 'nothing but 503')
    const after = await epochs(app)
    const rebuilt = after.flatMap((epoch, shard) => (epoch === before[shard] ? [] : [shard]))
    t.same(rebuilt, [SHARD], 'no other shard was closed')
  },
)

t.test('a move that broke off is finished by the next, and by none to another master', async (t) => {
  const shop = await openShop(t)
  const { app, cluster, products } = shop
  const product = products[SHARD] ?? 0
  const client = createClient(app, sellAll({ app, products: [] }).ledger)
  const holds = [await client.held(product), await client.held(product)]
  const unpaid = await client.ordered(product)
  const from = await masterOf(cluster, SHARD)
  const [to, third] = cluster.masters.filter((master) => master !== from)
  if (!to || !third) throw new Error('there are three masters')
  const slot = String(slotOfShard(SHARD))
  await to.redis.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', await from.id())
  await from.redis.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', await to.id())
  const some = (await from.redis.call('CLUSTER', 'GETKEYSINSLOT', slot, '3')) as string[]
  await from.redis.call('MIGRATE', '127.0.0.1', String(to.port), '', '0', '5000', 'KEYS', ...some)
  const refused = await app.call('POST', '/api/holds', { product_id: product, qty: 1 })
  t.equal(refused.status, 503, 'while some keys are here and some there')

  const { nodes } = app.engine
  const refusal = { message: `a move of shard 1 to node ${await to.id()} broke off: finish it first` }
  for (const { name } of [third, from]) await t.rejects(moveShard(nodes, SHARD, name), refusal)
  t.match(await moveShard(nodes, SHARD, to.name), { from: from.name })
  await areSoonOpen(t, app, [SHARD], 'after the move')
  for (const hold of holds) t.ok(await client.order(hold), 'no hold is lost')
  t.match(await client.pay(unpaid.order_id, 'success'), { outcome: 'applied' })
  t.match(await app.stock(product), { held: 0, pending: 2, sold: 1 })
})

t.test('a move that can not be made is refused in one line', async (t) => {
  const shop = await openShop(t)
  const product = shop.products[SHARD] ?? 0
  const { name } = await masterOf(shop.cluster, SHARD)
  for (const [id, to, code, said] of [
    [product, name, 0, `holdfast: shard 1 with product ${product} is at ${name} already\n`],
    [9_999, name, 1, 'holdfast: there is no product 9999\n'],
    [product, '127.0.0.1:1', 1, 'holdfast: 127.0.0.1:1 is no master of the cluster: take one of '],
    [0, name, 1, 'holdfast: it takes a product and a master: see npm run move-product -- --help\n'],
  ] as const) {
    t.match(await move(t, shop, id, to), { code, said })
  }
})
