import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import t, { type Test } from 'tap'
import { type App, build, newKey } from '../fixtures/app.ts'

const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`
const FIVE_MINUTES_S = 300
const SLACK_S = 20
const [old_secret, new_secret] = [newSecret(), newSecret()]
const app = await build(t, { env: { WEBHOOK_SECRETS: `${old_secret},${new_secret}` } })

/** A signed webhook, with its age. Whatever is named in `change` comes in the place of the right part. */
function sign(body: string, options: { secret?: string; age_s?: number } = {}) {
  const id = `msg_${randomBytes(6).toString('hex')}`
  const at_s = Math.floor(Date.now() / 1000) - (options.age_s ?? 0)
  return {
    'webhook-id': id,
    'webhook-timestamp': String(at_s),
    'webhook-signature': new Webhook(options.secret ?? new_secret).sign(id, new Date(at_s * 1000), body),
  }
}

async function newOrder(on: App = app) {
  return on.order(await on.hold(await on.product(10), 2))
}
const success = (order_id: string) =>
  JSON.stringify({ idempotency_key: newKey(), order_id, status: 'success' })
const deliver = (body: string | Buffer, headers: Record<string, string>, on: App = app) =>
  on.call('POST', '/api/payments/webhook', body, { headers })

t.test('a webhook that is signed is applied', async (t) => {
  const body = success((await newOrder()).order_id)
  t.match(await deliver(body, sign(body)), { status: 200, body: { data: { outcome: 'applied' } } })
  t.match(await deliver(body, sign(body)), { status: 200, body: { data: { outcome: 'duplicate' } } })
})

t.test('while secrets change, either one passes, and so does one signature of several', async (t) => {
  const body = success((await newOrder()).order_id)
  t.match(await deliver(body, sign(body, { secret: old_secret })), { status: 200 })
  const headers = sign(body)
  const several = `v1a,bm90IG91cnM= v1,${randomBytes(32).toString('base64')} ${headers['webhook-signature']}`
  t.match(await deliver(body, { ...headers, 'webhook-signature': several }), { status: 200 })
})

t.test('a webhook may be up to five minutes old, or ahead', async (t) => {
  const body = success((await newOrder()).order_id)
  for (const age_s of [FIVE_MINUTES_S - SLACK_S, -FIVE_MINUTES_S + SLACK_S]) {
    t.match(await deliver(body, sign(body, { age_s })), { status: 200 }, `${age_s} s`)
  }
})

/** Asserts that a delivery is refused and that the order it names is not paid by it. */
async function refused(
  t: Test,
  name: string,
  make: (body: string) => [string | Buffer, Record<string, string>],
) {
  const { order_id } = await newOrder()
  const reply = await deliver(...make(success(order_id)))
  t.match(reply, { status: 401, body: { code: 'invalid_signature' } }, name)
  t.match(await app.readOrder(order_id), { payment_status: 'pending' }, 'the order is as it was')
  t.same(
    await app.sql('select 1 from payments where order_id = $1', [order_id]),
    [],
    'and PostgreSQL has no payment',
  )
}

t.test('a webhook that is not signed is refused, and changes nothing', async (t) => {
  const without =
    (name: keyof ReturnType<typeof sign>) =>
    (body: string): [string, Record<string, string>] => {
      const headers: Record<string, string> = sign(body)
      delete headers[name]
      return [body, headers]
    }
  await refused(t, 'no headers', (body) => [body, {}])
  await refused(t, 'no id', without('webhook-id'))
  await refused(t, 'no timestamp', without('webhook-timestamp'))
  await refused(t, 'no signature', without('webhook-signature'))
  await refused(t, 'another secret', (body) => [body, sign(body, { secret: newSecret() })])
  await refused(t, 'too old', (body) => [body, sign(body, { age_s: FIVE_MINUTES_S + SLACK_S })])
  await refused(t, 'too far ahead', (body) => [body, sign(body, { age_s: -FIVE_MINUTES_S - SLACK_S })])
  await refused(t, 'a timestamp that is none', (body) => [
    body,
    { ...sign(body), 'webhook-timestamp': 'now' },
  ])
  await refused(t, 'another id', (body) => [body, { ...sign(body), 'webhook-id': 'msg_other' }])
  await refused(t, 'an empty signature', (body) => [body, { ...sign(body), 'webhook-signature': 'v1,' }])
  await refused(t, 'no version', (body) => {
    const headers = sign(body)
    return [body, { ...headers, 'webhook-signature': headers['webhook-signature'].slice(3) }]
  })
})

t.test('the signature is over the bytes as they came', async (t) => {
  await refused(t, 'a byte more', (body) => [`${body} `, sign(body)])
  await refused(t, 'a byte changed', (body) => [body.replace('"success"', '"sucCess"'), sign(body)])
  await refused(t, 'the same values, written anew', (body) => [
    JSON.stringify(JSON.parse(body), null, 1),
    sign(body),
  ])
  await refused(t, 'the same letter, written otherwise', (body) => [
    body.replace('success', '\\u0073uccess'),
    sign(body),
  ])
  const spaced = success((await newOrder()).order_id).replaceAll(',', ' ,\n ')
  t.match(await deliver(spaced, sign(spaced)), { status: 200 }, 'however they are laid out')
})

t.test(
  'without secrets unsigned webhooks pass, but only where nobody from outside can send them',
  async (t) => {
    const open = await build(t)
    const pay = async (on: App) => deliver(success((await newOrder(on)).order_id), {}, on)
    t.match(await pay(open), { status: 200 })
    const outside = await build(t, { env: { HOST: '0.0.0.0' } })
    t.match(await pay(outside), { status: 401, body: { code: 'invalid_signature' } })
  },
)

t.test('a body that is larger than 64 KiB is refused', async (t) => {
  const { order_id } = await newOrder()
  const body = JSON.stringify({ ...JSON.parse(success(order_id)), transaction_id: 'x'.repeat(64 * 1024) })
  t.match(await deliver(body, sign(body)), { status: 413, body: { code: 'body_too_large' } })
})
