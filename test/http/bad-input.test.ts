import t from 'tap'
import { build } from '../fixtures/app.ts'
import { type Bad, refuseAll } from '../fixtures/refusals.ts'

const app = await build(t)
const product = await app.product(100)
const hold = await app.hold(product, 2)
const order = await app.order(await app.hold(product, 3))
await app.agree(t, 'before')

const ORDERS: Record<string, Bad> = {
  'no body': {},
  'no hold': { body: {} },
  'a hold as a number': { body: { hold_id: 1 } },
  'a hold in a list': { body: { hold_id: [hold.hold_id] } },
  'an empty hold': { body: { hold_id: '' } },
  'a hold of 201 characters': { body: { hold_id: 'h'.repeat(201) } },
  'a hold with NUL': { body: { hold_id: `${hold.hold_id}\0` } },
  'a hold with a blank': { body: { hold_id: `${hold.hold_id} ` }, status: 404, code: 'hold_not_found' },
  'a hold in capitals': {
    body: { hold_id: hold.hold_id.toUpperCase() },
    status: 404,
    code: 'hold_not_found',
  },
  'the order of the hold': { body: { hold_id: hold.order_id }, status: 404, code: 'hold_not_found' },
  'an amount of his own': { body: { hold_id: hold.hold_id, amount: 1 } },
  'a key twice': { body: `{"hold_id":"${hold.hold_id}","hold_id":"${hold.hold_id}"}` },
  'two Idempotency-Keys': {
    body: { hold_id: hold.hold_id },
    headers: ['idempotency-key', 'a', 'idempotency-key', 'b'],
  },
  'a long Idempotency-Key': {
    body: { hold_id: hold.hold_id },
    headers: ['idempotency-key', 'k'.repeat(256)],
  },
}

const paid = { idempotency_key: 'k', order_id: order.order_id, status: 'success' }
const PAYMENTS: Record<string, Bad> = {
  'no body': {},
  'no key': { body: { order_id: order.order_id, status: 'success' } },
  'an empty key': { body: { ...paid, idempotency_key: '' } },
  'a key of 256 characters': { body: { ...paid, idempotency_key: 'k'.repeat(256) } },
  'a key with NUL': { body: { ...paid, idempotency_key: 'k\0' } },
  'a key as a number': { body: { ...paid, idempotency_key: 1 } },
  'no order': { body: { idempotency_key: 'k', status: 'success' } },
  'an order that is none': { body: { ...paid, order_id: 'ord_1' } },
  'a hold for an order': { body: { ...paid, order_id: hold.hold_id } },
  'no status': { body: { idempotency_key: 'k', order_id: order.order_id } },
  'another status': { body: { ...paid, status: 'paid' } },
  'a status in capitals': { body: { ...paid, status: 'SUCCESS' } },
  'a negative amount': { body: { ...paid, amount: -1 } },
  'an amount in parts': { body: { ...paid, amount: 297.5 } },
  'an amount as text': { body: { ...paid, amount: '29700' } },
  'an amount of 2^53': {
    body: `{"idempotency_key":"k","order_id":"${order.order_id}","status":"success","amount":9007199254740992}`,
  },
  'a currency in small letters': { body: { ...paid, currency: 'usd' } },
  'a currency of four letters': { body: { ...paid, currency: 'USDT' } },
  'a method of 201 characters': { body: { ...paid, payment_method: 'm'.repeat(201) } },
  'a transaction with a line break': { body: { ...paid, transaction_id: 'a\r\nb' } },
  'an unknown field': { body: { ...paid, outcome: 'applied' } },
  'two Idempotency-Keys': { body: paid, headers: ['idempotency-key', 'k', 'idempotency-key', 'k'] },
  'more than 64 KiB': { body: { ...paid, transaction_id: 't'.repeat(64 * 1024) }, status: 413 },
}

const READS: Record<string, Bad> = Object.fromEntries(
  [
    ...['0', '-1', '1.5', 'one', '9007199254740992', '1e999', 'null', '%00', '1%20or%201=1'].map(
      (id) => `/api/products/${id}`,
    ),
    ...[
      'limit=0',
      'limit=101',
      'limit=-1',
      'limit=1.5',
      'limit=x',
      'limit=',
      'limit=1&limit=2',
      'cursor=',
      'cursor=x',
      'page=2',
    ].map((query) => `/api/products?${query}`),
    ...[`cursor=${'A'.repeat(201)}`, `cursor=${Buffer.from('-1').toString('base64url')}`].map(
      (query) => `/api/products?${query}`,
    ),
    '/api/products/0/stock',
    '/api/products/x/stock/stream',
  ].map((path) => [path, { method: 'GET', path }]),
)
const missing = (path: string): [string, Bad] => [path, { method: 'GET', path, status: 404 }]
const IDS: Record<string, Bad> = Object.fromEntries([
  missing(`/api/holds/${order.order_id}`),
  missing(`/api/orders/${hold.hold_id}`),
  missing(`/api/holds/${hold.hold_id}%00`),
  missing(`/api/holds/${hold.hold_id}%20`),
  missing(`/api/holds/..%2f..%2fproducts`),
  missing(`/api/orders/${encodeURIComponent("' or 1=1 --")}`),
  missing(`/api/orders/${encodeURIComponent('🙂')}`),
])
const LONG: Record<string, Bad> = {
  'a hold of 201 characters': { method: 'GET', path: `/api/holds/hld_${'h'.repeat(197)}` },
  'an order of 201 characters': { method: 'GET', path: `/api/orders/ord_${'h'.repeat(197)}` },
  'a path that can not be decoded': { method: 'GET', path: '/api/holds/%e0%a4%a' },
}

for (const [what, path, cases] of [
  ['a malformed request for an order', '/api/orders', ORDERS],
  ['a malformed payment', '/api/payments/webhook', PAYMENTS],
  ['a malformed read of products', '', READS],
  ['an id that nobody has', '', IDS],
  ['an id that is too long or can not be read', '', LONG],
] as const) {
  t.test(`${what} is refused, says why and changes nothing`, async (t) => {
    await refuseAll(t, app, path, cases)
  })
}
