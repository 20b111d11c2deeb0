import t from 'tap'
import { build } from '../fixtures/app.ts'
import { type Bad, refuseAll } from '../fixtures/refusals.ts'
import type { ProductBody } from '../fixtures/resources.ts'

const TOKEN = 'a token that only the admin has'
const app = await build(t, { env: { ADMIN_TOKEN: TOKEN } })
const beside = await build(t, { beside: app, env: { ADMIN_TOKEN: TOKEN } })
const admin = { headers: { authorization: `Bearer ${TOKEN}` } }
const shoe = { name: 'Shoe', unit_amount: 9900, currency: 'USD', total_stock: 5 }

t.test('the admin creates a product, which is on sale at once, in every process', async (t) => {
  const reply = await app.call('POST', '/api/products', shoe, admin)
  t.equal(reply.status, 201)
  const { data } = reply.body as { data: ProductBody }
  t.equal(reply.headers.location, `/api/products/${data.id}`)
  t.same(data, {
    ...{
      id: data.id,
      name: 'Shoe',
      unit_amount: 9900,
      currency: 'USD',
      available_stock: 5,
      state: 'available',
    },
    stock: { total: 5, available: 5, held: 0, pending: 0, sold: 0 },
    ...{ starts_at: null, ends_at: null, hold_ttl_seconds: 120, max_per_hold: null, max_per_customer: null },
  })
  t.same(await app.readProduct(data.id), data)
  t.same(await beside.readProduct(data.id), data)
  await app.paid((await app.order(await beside.hold(data.id, 2))).order_id, 'success')
  t.match(await beside.stock(data.id), { available: 3, sold: 2 })
  t.match(await app.call('GET', '/api/products?limit=100'), { body: { data: [{ id: data.id }] } })
  await app.agree(t, 'afterwards')
})

t.test('with all its terms', async (t) => {
  const terms = {
    starts_at: '2026-01-31T13:00:00.5+01:00',
    ends_at: '2999-01-31T12:00:00Z',
    hold_ttl_seconds: 30,
    max_per_hold: 2,
    max_per_customer: 3,
  }
  const reply = await app.call('POST', '/api/products', { ...shoe, ...terms, total_stock: 0 }, admin)
  t.match(reply, {
    status: 201,
    body: {
      data: {
        ...terms,
        starts_at: '2026-01-31T12:00:00.500Z',
        ends_at: '2999-01-31T12:00:00.000Z',
        state: 'sold_out',
      },
    },
  })
})

t.test('nobody else can, and nobody learns why', async (t) => {
  const count = async () => (await app.sql('select 1 from products')).length
  const before = await count()
  const headers = [
    {},
    { authorization: '' },
    { authorization: TOKEN },
    { authorization: `Basic ${TOKEN}` },
    { authorization: `Bearer ${TOKEN}x` },
    { authorization: `Bearer ${TOKEN.slice(0, -1)}` },
    { authorization: `bearer ${TOKEN.toUpperCase()}` },
  ]
  const details = new Set<string>()
  for (const one of headers) {
    for (const body of [shoe, { name: 1 }]) {
      const reply = await app.call('POST', '/api/products', body, { headers: one })
      t.match(reply, {
        status: 401,
        body: { code: 'unauthorized' },
        headers: { 'www-authenticate': 'Bearer' },
      })
      details.add((reply.body as { detail: string }).detail)
    }
  }
  t.equal(details.size, 1)
  t.equal(await count(), before)
})

t.test('without a token everybody on this machine is the admin, and nobody elsewhere', async (t) => {
  const open = await build(t)
  t.match(await open.call('POST', '/api/products', shoe), { status: 201 })
  const outside = await build(t, { env: { HOST: '0.0.0.0' } })
  t.match(await outside.call('POST', '/api/products', shoe), { status: 401 })
})

t.test('a product that makes no sense is refused, says why and changes nothing', async (t) => {
  const open = await build(t)
  const BAD: Record<string, Bad> = {
    'no body': {},
    'no name': { body: { ...shoe, name: undefined } },
    'an empty name': { body: { ...shoe, name: '' } },
    'a name of 201 characters': { body: { ...shoe, name: 'x'.repeat(201) } },
    'a name with NUL': { body: { ...shoe, name: 'Sh\0e' } },
    'a price in parts': { body: { ...shoe, unit_amount: 99.5 } },
    'a negative price': { body: { ...shoe, unit_amount: -1 } },
    'a price as text': { body: { ...shoe, unit_amount: '9900' } },
    'no currency': { body: { ...shoe, currency: undefined } },
    'a currency in small letters': { body: { ...shoe, currency: 'usd' } },
    'negative stock': { body: { ...shoe, total_stock: -1 } },
    'stock of 2^53': { body: { ...shoe, total_stock: 2 ** 53 } },
    'more worth than can be counted': { body: { ...shoe, unit_amount: 10 ** 9, total_stock: 10 ** 9 } },
    'a hold of no time': { body: { ...shoe, hold_ttl_seconds: 0 } },
    'a hold of more than a day': { body: { ...shoe, hold_ttl_seconds: 86_401 } },
    'a limit of nothing': { body: { ...shoe, max_per_hold: 0 } },
    'a limit as text': { body: { ...shoe, max_per_customer: '2' } },
    'a start that is no time': { body: { ...shoe, starts_at: 'tomorrow' } },
    'a start in no zone': { body: { ...shoe, starts_at: '2026-01-31T12:00:00' } },
    'a day that is none': { body: { ...shoe, starts_at: '2026-02-31T12:00:00Z' } },
    'an hour that is none': { body: { ...shoe, starts_at: '2026-01-31T25:00:00Z' } },
    'an end before the start': {
      body: { ...shoe, starts_at: '2026-02-01T00:00:00Z', ends_at: '2026-01-31T00:00:00Z' },
    },
    'an end at the start': {
      body: { ...shoe, starts_at: '2026-01-31T01:00:00+01:00', ends_at: '2026-01-31T00:00:00Z' },
    },
    'an id of his own': { body: { ...shoe, id: 7 } },
    'sold units': { body: { ...shoe, sold: 3 } },
  }
  await refuseAll(t, open, '/api/products', BAD)
})
