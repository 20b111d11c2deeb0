import t from 'tap'
import { build } from '../fixtures/app.ts'
import type { ProductBody } from '../fixtures/resources.ts'

const HOUR_MS = 3_600_000
const app = await build(t)

t.test('a product is read with its stock, its terms and its state', async (t) => {
  const id = await app.product(100, { max_per_hold: 4 })
  t.same(await app.readProduct(id), {
    id,
    name: 'Shoe',
    unit_amount: 9900,
    currency: 'USD',
    available_stock: 100,
    stock: { total: 100, available: 100, held: 0, pending: 0, sold: 0 },
    state: 'available',
    starts_at: null,
    ends_at: null,
    hold_ttl_seconds: 120,
    max_per_hold: 4,
    max_per_customer: null,
  })
})

t.test('its stock counts every unit once: free, held, pending or sold', async (t) => {
  const id = await app.product(100)
  await app.hold(id, 10)
  await app.order(await app.hold(id, 2))
  await app.paid((await app.order(await app.hold(id, 3))).order_id, 'success')
  const stock = { total: 100, available: 85, held: 10, pending: 2, sold: 3 }
  t.same(await app.stock(id), { ...stock, state: 'available' })
  const product = await app.readProduct(id)
  t.same(product.stock, stock)
  t.equal(product.available_stock, 85)
  await app.agree(t, 'after these sales')
})

t.test('the terms of sale are shown with it', async (t) => {
  const now_ms = Date.now()
  const terms = {
    hold_ttl_ms: 30_000,
    starts_at_ms: now_ms - HOUR_MS,
    ends_at_ms: now_ms + HOUR_MS,
    max_per_customer: 2,
  }
  const id = await app.product(1, { ...terms, currency: 'EUR', unit_amount: 0, name: 'Søck – “größe”' })
  t.match(await app.readProduct(id), {
    name: 'Søck – “größe”',
    unit_amount: 0,
    currency: 'EUR',
    starts_at: new Date(terms.starts_at_ms).toISOString(),
    ends_at: new Date(terms.ends_at_ms).toISOString(),
    hold_ttl_seconds: 30,
    max_per_customer: 2,
  })
})

t.test('the state says whether there is something to buy', async (t) => {
  const past_ms = Date.now() - HOUR_MS
  const future_ms = Date.now() + HOUR_MS
  const state = async (id: number) => (await app.stock(id)).state

  const id = await app.product(1)
  t.equal(await state(id), 'available')
  const hold = await app.hold(id)
  t.equal(await state(id), 'all_held')
  const order = await app.order(hold)
  t.equal(await state(id), 'all_held', 'an unpaid order may still give its unit back')
  await app.paid(order.order_id, 'success')
  t.equal(await state(id), 'sold_out')

  t.equal(await state(await app.product(0)), 'sold_out')
  t.equal(await state(await app.product(5, { paused: true, ends_at_ms: past_ms })), 'paused')
  t.equal(await state(await app.product(5, { starts_at_ms: future_ms })), 'not_started')
  t.equal(await state(await app.product(0, { ends_at_ms: past_ms })), 'ended')
})

t.test('a product that does not exist is not found', async (t) => {
  for (const path of [
    '/api/products/999999',
    '/api/products/999999/stock',
    '/api/products/999999/stock/stream',
  ]) {
    t.match(await app.call('GET', path), { status: 404, body: { code: 'product_not_found' } }, path)
  }
})

t.test('the list comes in pages, by id, and misses and repeats nothing', async (t) => {
  const listed = await build(t)
  const ids: number[] = []
  for (let count = 0; count < 23; count += 1) ids.push(await listed.product(count))
  type List = { data: ProductBody[]; meta: { next_cursor: string | null } }
  const page = async (query: string) => (await listed.call('GET', `/api/products${query}`)).body as List

  const first = await page('')
  t.equal(first.data.length, 20, 'twenty by default')
  const seen: number[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const { data, meta }: List = await page(`?limit=5${cursor && `&cursor=${cursor}`}`)
    seen.push(...data.map(({ id }) => id))
    cursor = meta.next_cursor
  }
  t.same(seen, ids)
  t.match(await page('?limit=100'), { data: { length: 23 }, meta: { next_cursor: null } })
  t.same(first.data[3], await listed.readProduct(ids[3] as number), 'an item is what the product alone is')
})
