import t from 'tap'
import { build } from '../fixtures/app.ts'
import { type Bad, refuseAll } from '../fixtures/refusals.ts'

const MEGABYTE = 1024 * 1024
const app = await build(t)
const product = await app.product(100)

const one = { product_id: product, qty: 1 }
const nested = (depth: number) => `{"product_id":${product},"qty":${'['.repeat(depth)}${']'.repeat(depth)}}`
const line = (text: string) => `{"product_id":${product},"qty":1,${text}}`

const BAD: Record<string, Bad> = {
  'no body': {},
  'an empty body': { body: '' },
  'white space': { body: ' \n' },
  'half a body': { body: '{"product_id":1,' },
  'text that is no JSON': { body: 'product_id=1&qty=1' },
  'two bodies': { body: `${JSON.stringify(one)}${JSON.stringify(one)}` },
  'a byte order mark': { body: `\ufeff${JSON.stringify(one)}` },
  'bytes that are no UTF-8': {
    body: Buffer.from(`{"product_id":${product},"qty":1,"customer_id":"\xff"}`, 'latin1'),
  },
  null: { body: 'null' },
  'a number': { body: '1' },
  'a string': { body: '"hold"' },
  'a list': { body: [one] },
  'an empty object': { body: {} },
  'a comment': { body: `{"product_id":${product},/* one */"qty":1}` },
  'no qty': { body: { product_id: product } },
  'no product': { body: { qty: 1 } },
  'qty as text': { body: { ...one, qty: '1' } },
  'qty as true': { body: { ...one, qty: true } },
  'qty as null': { body: { ...one, qty: null } },
  'qty as a list': { body: { ...one, qty: [1] } },
  'qty as an object': { body: { ...one, qty: { $gt: 0 } } },
  'qty of nothing': { body: { ...one, qty: 0 } },
  'qty of minus nothing': { body: line('').replace('"qty":1,', '"qty":-0') },
  'negative qty': { body: { ...one, qty: -1 } },
  'half a unit': { body: { ...one, qty: 1.5 } },
  'qty of 2^53': { body: `{"product_id":${product},"qty":9007199254740992}` },
  'qty of 2^64': { body: `{"product_id":${product},"qty":18446744073709551616}` },
  'qty of 1e400': { body: `{"product_id":${product},"qty":1e400}` },
  'qty as NaN': { body: `{"product_id":${product},"qty":NaN}` },
  'qty in hex': { body: `{"product_id":${product},"qty":0x1}` },
  'product 0': { body: { ...one, product_id: 0 } },
  'a negative product': { body: { ...one, product_id: -1 } },
  'product as text': { body: { ...one, product_id: String(product) } },
  'product of 2^53': { body: '{"product_id":9007199254740992,"qty":1}' },
  'an unknown field': { body: { ...one, price: 0 } },
  'an id that is not his to choose': { body: { ...one, hold_id: 'hld_mine' } },
  __proto__: { body: line('"__proto__":{"qty":1}') },
  'a constructor': { body: line('"constructor":{"prototype":{"qty":1}}') },
  'a key twice': { body: `{"product_id":${product},"qty":1,"qty":2}` },
  'a key twice, written otherwise': { body: `{"product_id":${product},"qty":1,"\\u0071ty":2}` },
  'a key twice, deep inside': { body: `{"items":[{"product_id":${product},"qty":1,"qty":1}]}` },
  'an empty customer': { body: { ...one, customer_id: '' } },
  'a customer of 201 characters': { body: { ...one, customer_id: 'c'.repeat(201) } },
  'a customer with NUL': { body: { ...one, customer_id: 'a\0b' } },
  'a customer with a line break': { body: { ...one, customer_id: 'a\nb' } },
  'a customer with an escape': { body: { ...one, customer_id: 'a\u001b[0m' } },
  'a customer with half a character': { body: line('"customer_id":"\\ud83d"') },
  'a customer with the other half': { body: line('"customer_id":"\\ude00x"') },
  'a customer as a number': { body: { ...one, customer_id: 17 } },
  'a customer as null': { body: { ...one, customer_id: null } },
  'no items': { body: { items: [] } },
  'eleven items': { body: { items: Array.from({ length: 11 }, () => one) } },
  'items and a product': { body: { ...one, items: [one] } },
  'items and qty': { body: { qty: 1, items: [one] } },
  'items as an object': { body: { items: { 0: one, length: 1 } } },
  'items of null': { body: { items: [null] } },
  'an item without qty': { body: { items: [{ product_id: product }] } },
  'an item with more': { body: { items: [{ ...one, unit_amount: 0 }] } },
  'an item with negative qty beside a good one': { body: { items: [one, { ...one, qty: -1 }] } },
  'items that sum to 2^53': { body: { items: [one, { ...one, qty: Number.MAX_SAFE_INTEGER }] } },
  'items that sum to far more': {
    body: { items: Array.from({ length: 10 }, () => ({ ...one, qty: 2 ** 52 })) },
  },
  'lists in lists': { body: nested(20) },
  'lists in lists in lists': { body: nested(5_000) },
  'a body of more than 1 MiB': {
    body: line(`"customer_id":"${'c'.repeat(MEGABYTE)}"`),
    status: 413,
    code: 'body_too_large',
  },
  'a form': {
    body: 'product_id=1',
    headers: ['content-type', 'application/x-www-form-urlencoded'],
    status: 415,
  },
  'plain text': { body: JSON.stringify(one), headers: ['content-type', 'text/plain'], status: 415 },
  XML: {
    body: '<hold/>',
    headers: ['content-type', 'application/xml'],
    status: 415,
    code: 'unsupported_media_type',
  },
  'a type that is none': { body: JSON.stringify(one), headers: ['content-type', 'json'], status: 415 },
  'an empty Idempotency-Key': { body: one, headers: ['idempotency-key', ''] },
  'an Idempotency-Key of 256 characters': { body: one, headers: ['idempotency-key', 'k'.repeat(256)] },
  'an Idempotency-Key with a tab': { body: one, headers: ['idempotency-key', 'a\tb'] },
  'an Idempotency-Key that is not ASCII': { body: one, headers: ['idempotency-key', 'schlüssel'] },
  'two Idempotency-Keys': { body: one, headers: ['idempotency-key', 'a', 'idempotency-key', 'b'] },
  'the same Idempotency-Key twice': { body: one, headers: ['Idempotency-Key', 'a', 'idempotency-key', 'a'] },
}

t.test('a malformed request for a hold is refused, says why and changes nothing', async (t) => {
  await refuseAll(t, app, '/api/holds', BAD)
})

t.test('a refusal names the field and what is wrong with it', async (t) => {
  const errors = async (body: unknown) =>
    ((await app.call('POST', '/api/holds', body)).body as { errors: unknown }).errors
  t.same(await errors({ ...one, qty: '2' }), [{ path: '/qty', message: 'must be integer' }])
  t.same(await errors({ ...one, price: 1 }), [{ path: '/price', message: 'is not a known field' }])
  t.match(await errors({ items: [one, { ...one, qty: 0 }] }), [{ path: '/items/1/qty', message: /1/ }])
  t.match(await errors('{"qty":1,"qty":1}'), [{ path: '', message: /twice/ }])
})

t.test('the longest that is allowed is taken', async (t) => {
  const customer_id = 'ä'.repeat(200)
  t.match(await app.hold(product, 1, { customer_id }), { customer_id })
  t.match(await app.hold(product, 1, { customer_id: '🙂 | "x" \\ ü' }), { customer_id: '🙂 | "x" \\ ü' })
  const headers = { 'idempotency-key': '~'.repeat(255) }
  t.match(await app.call('POST', '/api/holds', one, { headers }), { status: 201 })
  const items = Array.from({ length: 10 }, () => one)
  t.match(await app.call('POST', '/api/holds', { items }), { status: 201 })
  const body = ` ${' '.repeat(MEGABYTE - 200)}${JSON.stringify(one)}`
  t.match(await app.call('POST', '/api/holds', body), { status: 201 })
  t.match(await app.call('POST', '/api/holds', { product_id: product, qty: Number.MAX_SAFE_INTEGER }), {
    status: 409,
  })
})
