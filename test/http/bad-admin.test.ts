import t from 'tap'
import { build } from '../fixtures/app.ts'
import { type Bad, refuseAll } from '../fixtures/refusals.ts'

const TOKEN = 'a token that only the admin has'
const HOUR_MS = 3_600_000
const app = await build(t, { env: { ADMIN_TOKEN: TOKEN } })
const now_ms = Date.now()
const product = await app.product(100, {
  starts_at_ms: now_ms - HOUR_MS,
  ends_at_ms: now_ms + HOUR_MS,
})
const dear = await app.product(1_000_000_000)
const order = await app.order(await app.hold(product, 3))
await app.agree(t, 'before')

const as_admin = ['authorization', `Bearer ${TOKEN}`]
/** The same cases, sent by the admin, with a key where one is needed. */
const byAdmin = (cases: Record<string, Bad>, ...more: string[]): Record<string, Bad> =>
  Object.fromEntries(
    Object.entries(cases).map(([name, bad]) => [name, { headers: [...as_admin, ...more], ...bad }]),
  )
const iso = (ms: number) => new Date(ms).toISOString()

const CHANGES: Record<string, Bad> = {
  'no body': {},
  'an empty change': { body: {} },
  'a list': { body: [{ paused: true }] },
  'a name of null': { body: { name: null } },
  'an empty name': { body: { name: '' } },
  'a name with a line break': { body: { name: 'Sh\noe' } },
  'a price of null': { body: { unit_amount: null } },
  'a price as text': { body: { unit_amount: '1' } },
  'a price in parts': { body: { unit_amount: 0.5 } },
  'a currency of null': { body: { currency: null } },
  'a currency that is none': { body: { currency: 'Dollar' } },
  'paused as text': { body: { paused: 'true' } },
  'paused as null': { body: { paused: null } },
  'paused as a number': { body: { paused: 1 } },
  'a hold of no time': { body: { hold_ttl_seconds: 0 } },
  'a hold of more than a day': { body: { hold_ttl_seconds: 86_401 } },
  'a limit of nothing': { body: { max_per_customer: 0 } },
  'half a limit': { body: { max_per_hold: 1.5 } },
  'a start that is no time': { body: { starts_at: 'now' } },
  'a start on the 31st of June': { body: { starts_at: '2026-06-31T00:00:00Z' } },
  'a start after the end that is known': { body: { starts_at: iso(now_ms + 2 * HOUR_MS) } },
  'an end before the start that is known': { body: { ends_at: iso(now_ms - 2 * HOUR_MS) } },
  'an end at the start': { body: { starts_at: iso(now_ms), ends_at: iso(now_ms) } },
  'an end after all years': { body: { ends_at: '9999-12-31T23:59:59-01:00' } },
  'a start before all sales': { body: { starts_at: '0000-01-01T00:00:00Z' } },
  'the total': { body: { total_stock: 200 } },
  'sold units': { body: { stock: { sold: 0 } } },
  'a shelf': { body: { shelf: 'spring' } },
  'an id': { body: { id: 7 } },
  'an unknown field': { body: { paused: true, price: 1 } },
  'a key twice': { body: '{"paused":true,"paused":false}' },
  'a price that can not be counted': { path: `/api/products/${dear}`, body: { unit_amount: 10 ** 9 } },
  'a product that is none': { path: '/api/products/one', body: { paused: true } },
  'product 0': { path: '/api/products/0', body: { paused: true } },
  'a product of 2^53': { path: '/api/products/9007199254740992', body: { paused: true } },
  'a product that is not there': { path: '/api/products/999999', body: { paused: true }, status: 404 },
}

const STOCK: Record<string, Bad> = {
  'no body': {},
  'no delta': { body: { reason: 'none' } },
  'a delta of nothing': { body: { delta: 0 } },
  'a delta of minus nothing': { body: '{"delta":-0}' },
  'half a unit': { body: { delta: 0.5 } },
  'a delta as text': { body: { delta: '5' } },
  'a delta of null': { body: { delta: null } },
  'a delta of 2^53': { body: '{"delta":9007199254740992}' },
  'a delta of minus 2^53': { body: '{"delta":-9007199254740992}' },
  'a delta of 1e400': { body: '{"delta":1e400}' },
  'more than can be counted': { body: { delta: Number.MAX_SAFE_INTEGER } },
  'more worth than can be counted': { body: { delta: 900_719_925_474 } },
  'less than is free': { body: { delta: -98 }, status: 409, code: 'stock_in_use' },
  'less than nothing': { body: { delta: -Number.MAX_SAFE_INTEGER }, status: 409, code: 'stock_in_use' },
  'an empty reason': { body: { delta: 1, reason: '' } },
  'a reason of 201 characters': { body: { delta: 1, reason: 'r'.repeat(201) } },
  'a reason with NUL': { body: { delta: 1, reason: 'a\0b' } },
  'a reason of null': { body: { delta: 1, reason: null } },
  'an unknown field': { body: { delta: 1, total: 5 } },
  'no key': { body: { delta: 1 }, headers: as_admin },
  'an empty key': { body: { delta: 1 }, headers: [...as_admin, 'idempotency-key', ''] },
  'a key of 256 characters': {
    body: { delta: 1 },
    headers: [...as_admin, 'idempotency-key', 'k'.repeat(256)],
  },
  'two keys': {
    body: { delta: 1 },
    headers: [...as_admin, 'idempotency-key', 'a', 'idempotency-key', 'b'],
  },
  'a product that is none': { path: '/api/products/-1/stock', body: { delta: 1 } },
  'a product that is not there': { path: '/api/products/999999/stock', body: { delta: 1 }, status: 404 },
}

const cursor = (key: unknown) => `cursor=${Buffer.from(JSON.stringify(key)).toString('base64url')}`
const PAGES = [
  'limit=0',
  'limit=101',
  'limit=x',
  'cursor=',
  'cursor=x',
  'page=2',
  cursor([1]),
  cursor([-1, 'a']),
]
const cursors = [
  cursor(['a', 1]),
  cursor([1.5, 'a']),
  cursor([1, 'a\0b']),
  cursor({ length: 2 }),
  cursor(null),
]
const LISTS: Record<string, Bad> = Object.fromEntries(
  [
    ...[...PAGES, ...cursors, 'product_id=0', 'product_id=x', 'product_id=', 'customer_id=a'].map(
      (query) => `/api/holds?${query}`,
    ),
    ...[...PAGES, ...cursors, 'product_id=1.5', 'product_id=9007199254740992'].map(
      (query) => `/api/orders?${query}`,
    ),
    ...['payment_status=open', 'order_status=pending', 'customer_id=', 'customer_id=%00', 'status=paid'].map(
      (query) => `/api/orders?${query}`,
    ),
    `/api/orders?customer_id=${'c'.repeat(201)}`,
    '/api/orders?order_status=confirmed&order_status=cancelled',
  ].map((path) => [path, { method: 'GET', path }]),
)

const SHELVES: Record<string, Bad> = Object.fromEntries(
  Object.entries({
    'an empty shelf': '',
    'a shelf of 201 characters': 's'.repeat(201),
    'a shelf with NUL': 'a\0b',
    'a shelf as a number': 1,
    'a shelf of null': null,
  }).map(([name, shelf]) => [
    name,
    { body: { name: 'Shoe', unit_amount: 1, currency: 'USD', total_stock: 1, shelf } },
  ]),
)

t.test('a malformed change of a product is refused, says why and changes nothing', async (t) => {
  const patches = Object.fromEntries(
    Object.entries(CHANGES).map(([name, bad]) => [name, { method: 'PATCH', ...bad }]),
  )
  await refuseAll(t, app, `/api/products/${product}`, byAdmin(patches))
})

t.test('so is a malformed change of stock', async (t) => {
  await refuseAll(t, app, `/api/products/${product}/stock`, byAdmin(STOCK, 'idempotency-key', 'k'))
})

t.test('a malformed shelf, and a malformed question for a list', async (t) => {
  await refuseAll(t, app, '/api/products', byAdmin(SHELVES))
  await refuseAll(t, app, '', byAdmin(LISTS))
})

t.test('nobody but the admin changes or lists anything, and nobody learns what is there', async (t) => {
  const routes: Array<[method: string, path: string, body?: object]> = [
    ['PATCH', `/api/products/${product}`, { paused: true }],
    ['PATCH', '/api/products/999999', { nonsense: true }],
    ['POST', `/api/products/${product}/stock`, { delta: 1 }],
    ['POST', '/api/products/999999/stock', {}],
    ['GET', '/api/holds'],
    ['GET', '/api/holds?limit=x'],
    ['GET', '/api/orders'],
    ['GET', `/api/orders?customer_id=${order.order_id}`],
  ]
  const tokens: string[][] = [[], ['authorization', TOKEN], ['authorization', `Bearer ${TOKEN}x`]]
  const cases = routes.flatMap(([method, path, body]) =>
    tokens.map((headers, at): [string, Bad] => [
      `${method} ${path} ${at}`,
      { method, path, body, headers, status: 401, code: 'unauthorized' },
    ]),
  )
  await refuseAll(t, app, '', Object.fromEntries(cases))
})
