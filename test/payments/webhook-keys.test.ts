import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { paymentKey } from '../../src/http/idempotency.ts'
import { type App, build, newKey } from '../fixtures/app.ts'
import type { PaymentBody } from '../fixtures/resources.ts'
import { unchanged } from './fixtures/everything.ts'

/*
  Under which key a payment counts. What no signature covers has no say in it.
*/
const secret = `whsec_${randomBytes(32).toString('base64')}`
const MAX_KEY_CHARS = 255
const app = await build(t, { env: { WEBHOOK_SECRETS: secret } })
const open = await build(t)

type Headers = Record<string, string>

/** The headers of a webhook as a sender signs it who knows nothing of keys. */
function sign(body: string, id: string, age_s = 0): Headers {
  const at = new Date(Math.floor(Date.now() / 1000 - age_s) * 1000)
  return {
    'webhook-id': id,
    'webhook-timestamp': String(at.getTime() / 1000),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
  }
}

const newOrder = async (on: App = app) => on.order(await on.hold(await on.product(10)))
const noticeOf = (order_id: string, more: object = {}) =>
  JSON.stringify({ order_id, status: 'success', transaction_id: 'tx_1', ...more })
const deliver = (body: string, headers: Headers, on: App = app) =>
  on.call('POST', '/api/payments/webhook', body, { headers })
async function did(body: string, headers: Headers, on: App = app): Promise<PaymentBody> {
  const reply = await deliver(body, headers, on)
  if (reply.status !== 200) throw new Error(`${reply.status} ${reply.text}`)
  return (reply.body as { data: PaymentBody }).data
}
async function keysOf(order_id: string, on: App = app): Promise<string[]> {
  const rows = await on.sql<{ idempotency_key: string }>(
    'select idempotency_key from payments where order_id = $1 order by idempotency_key collate "C"',
    [order_id],
  )
  return rows.map(({ idempotency_key }) => idempotency_key)
}
const INVALID = { status: 400, body: { code: 'validation_failed' } }

t.test(
  'the key is that of the body, then the signed id, and the header only where nothing is signed',
  (t) => {
    const [in_body, signed_id, in_header] = ['b', 's', 'h']
    t.equal(paymentKey({ in_body, signed_id, in_header }), 'b')
    t.equal(paymentKey({ in_body: undefined, signed_id, in_header }), 's')
    t.equal(paymentKey({ in_body: undefined, signed_id: null, in_header }), 'h')
    t.equal(paymentKey({ in_body: undefined, signed_id: null, in_header: undefined }), undefined)
    t.end()
  },
)

t.test('a signed webhook without a key counts under its id, also when its sender tries again', async (t) => {
  const { order_id } = await newOrder()
  const [body, id] = [noticeOf(order_id), `msg_${newKey()}`]
  t.match(await did(body, sign(body, id, 60)), { outcome: 'applied' })
  t.match(await did(body, sign(body, id)), { outcome: 'duplicate', first_outcome: 'applied' }, 'signed anew')
  t.same(await keysOf(order_id), [id])
  t.match(await did(body, sign(body, `msg_${newKey()}`)), { outcome: 'refund_due' }, 'another id is another')
})

t.test('a captured webhook that is sent again under other header keys is one payment', async (t) => {
  const { order_id } = await newOrder()
  const [body, id] = [noticeOf(order_id), `msg_${newKey()}`]
  const signed = sign(body, id)
  const keys = [newKey(), newKey(), id]
  t.match(await did(body, { ...signed, 'idempotency-key': newKey() }), { outcome: 'applied' })
  for (const key of keys) {
    t.match(await did(body, { ...signed, 'idempotency-key': key }), { outcome: 'duplicate' })
  }
  t.match(await did(body, signed), { outcome: 'duplicate' }, 'and under none')
  t.same(await keysOf(order_id), [id])
})

t.test('control: where the header is the key, one body under two of them is two payments', async (t) => {
  const { order_id } = await newOrder(open)
  const [body, keys] = [noticeOf(order_id), [newKey(), newKey()]]
  const outcomes: string[] = []
  for (const key of keys) outcomes.push((await did(body, { 'idempotency-key': key }, open)).outcome)
  t.same(outcomes, ['applied', 'refund_due'])
  t.same(await keysOf(order_id, open), keys.sort())
})

t.test('the key of the body goes before the signed id, whatever the header says', async (t) => {
  const { order_id } = await newOrder()
  const key = newKey()
  const body = noticeOf(order_id, { idempotency_key: key })
  t.match(await did(body, { ...sign(body, 'msg_a'), 'idempotency-key': newKey() }), { outcome: 'applied' })
  t.match(await did(body, sign(body, 'msg_b')), { outcome: 'duplicate' }, 'a sender that makes ids anew')
  t.same(await keysOf(order_id), [key])
})

t.test('an id of another order is a key that was used', async (t) => {
  const [first, second] = [await newOrder(), await newOrder()]
  const id = `msg_${newKey()}`
  const [body, other] = [noticeOf(first.order_id), noticeOf(second.order_id)]
  t.match(await did(body, sign(body, id)), { outcome: 'applied' })
  const reused = { status: 422, body: { code: 'idempotency_key_reused' } }
  t.match(await deliver(other, sign(other, id)), reused)
  t.match(await app.readOrder(second.order_id), { payment_status: 'pending' })
})

t.test('an id that can not be a key is refused where it would be one, and no matter elsewhere', async (t) => {
  const { order_id } = await newOrder()
  const longest = 'm'.repeat(MAX_KEY_CHARS)
  const body = noticeOf(order_id)
  for (const id of [`${longest}m`, 'msg\t1']) {
    const reply = await unchanged(t, app, () => deliver(body, sign(body, id)))
    t.match(reply, { ...INVALID, body: { errors: [{ path: '/headers/webhook-id' }] } })
  }
  t.match(await did(body, sign(body, longest)), { outcome: 'applied' })
  t.same(await keysOf(order_id), [longest])
  const keyed = noticeOf(order_id, { idempotency_key: newKey() })
  t.match(await did(keyed, sign(keyed, `${longest}m`)), { outcome: 'refund_due' })
})

t.test('where nothing is signed a webhook-id is no key', async (t) => {
  const { order_id } = await newOrder(open)
  const [body, key] = [noticeOf(order_id), newKey()]
  const unsigned = { 'webhook-id': 'msg_1' }
  t.match(await unchanged(t, open, () => deliver(body, unsigned, open)), INVALID)
  t.match(await did(body, { ...unsigned, 'idempotency-key': key }, open), { outcome: 'applied' })
  t.same(await keysOf(order_id, open), [key])
})
