import t from 'tap'
import { build } from '../fixtures/app.ts'

t.test('more shards are for new products; the others stay where they are', async (t) => {
  const app = await build(t, { env: { STOCK_SHARDS: '2' } })
  const ids = [await app.product(10, { shard: 0 }), await app.product(10, { shard: 1 })] as const
  const [held, ordered] = [await app.hold(ids[0], 2), await app.order(await app.hold(ids[1], 3))]
  await app.close()

  const more = await build(t, { beside: app, env: { STOCK_SHARDS: '12' } })
  t.match(await more.order(held), { order_status: 'pre-payment' })
  t.match(await more.paid(ordered.order_id, 'success'), { outcome: 'applied' })
  t.match(await more.stock(ids[0]), { available: 8, pending: 2 })
  t.match(await more.stock(ids[1]), { available: 7, sold: 3 })
  const created = new Set<number>()
  for (let count = 0; count < 12; count += 1) {
    const terms = { name: 'Shoe', unit_amount: 1, currency: 'USD', total_stock: 5 }
    const { body } = await more.call('POST', '/api/products', terms)
    const { id } = (body as { data: { id: number } }).data
    created.add(more.engine.shardOfProduct(id))
    await more.hold(id)
  }
  t.equal(created.size, 12, 'new products go to all of them')
  await more.agree(t, 'afterwards')

  await t.rejects(build(t, { beside: app, env: { STOCK_SHARDS: '2' } }), {
    message: 'products live in 12 shards: set STOCK_SHARDS to 12 at least',
  })
})
