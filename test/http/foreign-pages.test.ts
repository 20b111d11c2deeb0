import t from 'tap'
import { build } from '../fixtures/app.ts'
import { ADMIN } from '../fixtures/code-grounds.ts'
import { snapshot } from '../fixtures/refusals.ts'
import { bearer } from '../fixtures/tokens.ts'

const SHOE = { name: 'Shoe', unit_amount: 1, currency: 'USD', total_stock: 1 }
const REFUSED = { status: 403, body: { code: 'foreign_origin' } }

t.test('open admin routes obey no foreign page, whatever name it came by', async (t) => {
  const app = await build(t)
  const { host: own, port } = new URL(app.origin)
  const create = (headers: object) => app.call('POST', '/api/products', SHOE, { headers: { ...headers } })
  const before = await snapshot(app)
  for (const headers of [
    { host: 'shop.example' },
    { host: `shop.example:${port}` },
    { host: '127.0.0.1.shop.example' },
    { host: 'shop.example@' },
    { origin: 'https://shop.example' },
    { origin: 'http://127.0.0.1:1' },
    { origin: `http://localhost:${port}` },
    { origin: 'null' },
    { host: 'shop.example', origin: 'http://shop.example' },
  ]) {
    t.match(await create(headers), REFUSED, JSON.stringify(headers))
  }
  for (const path of ['/api/orders', '/api/holds', '/api/payments', '/api/desk']) {
    t.match(await app.call('GET', path, undefined, { headers: { host: 'shop.example' } }), REFUSED, path)
  }
  t.same(await snapshot(app), before)

  for (const headers of [
    {},
    { origin: `http://${own}` },
    { host: `localhost:${port}`, origin: `http://localhost:${port}` },
    { host: 'LOCALHOST' },
    { host: `[::1]:${port}` },
  ]) {
    t.match(await create(headers), { status: 201 }, JSON.stringify(headers))
  }
})

t.test(
  'where a token protects them, and on all other routes, it does not matter where a page comes from',
  async (t) => {
    const foreign = { host: 'shop.example', origin: 'https://shop.example' }
    const app = await build(t, { env: { ADMIN_TOKEN: ADMIN } })
    const create = (headers: object) => app.call('POST', '/api/products', SHOE, { headers: { ...headers } })
    t.match(await create({ ...foreign, ...bearer(ADMIN).headers }), { status: 201 })
    t.match(await create(foreign), { status: 401 })
    const open = await build(t)
    const product_id = await open.product(1)
    t.match(await open.call('POST', '/api/holds', { product_id, qty: 1 }, { headers: foreign }), {
      status: 201,
    })
  },
)
