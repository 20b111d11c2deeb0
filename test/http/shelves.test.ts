import t from 'tap'
import { type App, build } from '../fixtures/app.ts'
import { times } from '../fixtures/until.ts'

const SHARDS = 5
const env = { STOCK_SHARDS: String(SHARDS) }
const app = await build(t, { env })
const beside = await build(t, { beside: app, env })
const shoe = { name: 'Shoe', unit_amount: 9900, currency: 'USD', total_stock: 5 }

type Created = { id: number; shelf?: string }
const create = (shelf?: string, by: App = app): Promise<Created> =>
  by.expect(201, by.call('POST', '/api/products', { ...shoe, ...(shelf === undefined ? {} : { shelf }) }))
const cart = (by: App, ...ids: number[]) =>
  by.call('POST', '/api/holds', { items: ids.map((product_id) => ({ product_id, qty: 1 })) })

t.test('products of one shelf can be held together, wherever the cart comes', async (t) => {
  const products = []
  for (const by of [app, beside, app, beside]) {
    products.push(await create('spring', by))
    await create('autumn', by)
    await create(undefined, by)
  }
  const ids = products.map(({ id }) => id)
  t.match(products, Array(4).fill({ shelf: 'spring' }))
  t.equal(new Set(ids.map((id) => id % SHARDS)).size, 1, 'their ids name one shard')
  for (const by of [app, beside]) {
    const reply = await cart(by, ...ids)
    t.match(reply, { status: 201 })
    const { hold_id } = (reply.body as { data: { hold_id: string } }).data
    const order = await by.order({ hold_id })
    t.match(await by.paid(order.order_id, 'success'), { outcome: 'applied' })
  }
  await app.agree(t, 'afterwards')
})

t.test('so can those that are created at the same moment in several processes', async (t) => {
  const products = await times(12, (at) => create('rush', at % 2 === 0 ? app : beside))
  const ids = products.map(({ id }) => id)
  t.equal(new Set(ids).size, 12)
  t.equal(new Set(ids.map((id) => id % SHARDS)).size, 1)
  t.match(await cart(beside, ...ids.slice(0, 10)), { status: 201 })
})

t.test('products without a shelf are spread, and a cart of them is told the remedy', async (t) => {
  const ids = (await times(SHARDS * 2, () => create())).map(({ id }) => id)
  t.ok(new Set(ids.map((id) => id % SHARDS)).size > 1)
  const [first = 0] = ids
  const other = ids.find((id) => id % SHARDS !== first % SHARDS) ?? 0
  t.match(await cart(app, first, other), {
    status: 409,
    body: { code: 'not_in_one_shard', detail: /same shelf/ },
  })
})

t.test('a shelf is told to the admin again, and to nobody else', async (t) => {
  const { id } = await create('spring')
  const headers = { 'idempotency-key': 'k' }
  t.match(await app.call('POST', `/api/products/${id}/stock`, { delta: 1 }, { headers }), {
    body: { data: { shelf: 'spring' } },
  })
  t.match(await app.call('PATCH', `/api/products/${id}`, { name: 'Boot' }), {
    body: { data: { shelf: 'spring' } },
  })
  t.notOk('shelf' in (await app.readProduct(id)))
  t.notOk('shelf' in (await create()))
})
