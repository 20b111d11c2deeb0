import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { type App, build } from '../fixtures/app.ts'
import { unchanged } from './fixtures/everything.ts'
import { newEvent, newIntent, signStripe } from './fixtures/stripe-events.ts'

const [secret, next_secret] = ['whsec_aVerySecretSigningSecret', 'whsec_theSecretThatComesNext00']
const standard_secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const TOLERANCE_S = 300
const SLACK_S = 20
const MAX_BODY_BYTES = 256 * 1024
const app = await build(t, {
  env: { STRIPE_WEBHOOK_SECRET: `${secret},${next_secret}`, WEBHOOK_SECRETS: standard_secret },
})
const order = await app.order(await app.hold(await app.product(10)))
const event = newEvent('payment_intent.succeeded', newIntent(order))
const body = JSON.stringify(event, null, 2)

type Headers = Record<string, string>
const post = (sent: string | Buffer, headers: Headers, on: App = app) =>
  on.call('POST', '/api/payments/webhook/stripe', sent, { headers })
const REFUSED = { status: 401, body: { code: 'invalid_signature' } }

t.test('one changed bit anywhere in an event of Stripe is noticed', async (t) => {
  const bytes = Buffer.from(body)
  const headers = signStripe(body, secret)
  await unchanged(t, app, async () => {
    const passed: string[] = []
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes)
      changed.writeUInt8(changed.readUInt8(at) ^ (1 << (at % 8)), at)
      const { status } = await post(changed, headers)
      if (status !== 401) passed.push(`${at}: ${status}`)
    }
    t.same(passed, [], `${bytes.length} bytes`)
  })
})

t.test('an event that Stripe did not sign as it stands is refused, and changes nothing', async (t) => {
  const headers = signStripe(body, secret)
  const signature = headers['stripe-signature'] ?? ''
  const webhook_headers = {
    'webhook-id': event.id,
    'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
    'webhook-signature': new Webhook(standard_secret).sign(event.id, new Date(), body),
  }
  const cases: Record<string, [string, Headers]> = {
    'written anew': [JSON.stringify(event), headers],
    'another secret': [body, signStripe(body, 'whsec_somebodyElsesSecret0000')],
    'the secret of the other door': [body, signStripe(body, standard_secret)],
    'signed for the other door': [body, webhook_headers],
    'too old': [body, signStripe(body, secret, TOLERANCE_S + SLACK_S)],
    'old, with a new timestamp': [
      body,
      { 'stripe-signature': signature.replace(/^t=\d+/, `t=${Math.floor(Date.now() / 1000) + 1}`) },
    ],
    'no signature': [body, {}],
    'an empty signature': [body, { 'stripe-signature': '' }],
    'a signature without a timestamp': [body, { 'stripe-signature': signature.replace(/^t=\d+,/, '') }],
    'a timestamp without a signature': [body, { 'stripe-signature': signature.replace(/,v1=.*/, '') }],
    'the right signature under the version of test events': [
      body,
      { 'stripe-signature': signature.replace('v1=', 'v0=') },
    ],
    'no body': ['', headers],
    'a body that is no JSON, unsigned': ['{', {}],
  }
  for (const [name, [sent, with_headers]] of Object.entries(cases)) {
    t.match(await unchanged(t, app, () => post(sent, with_headers)), REFUSED, name)
  }
})

t.test('without a secret of Stripe no event passes, signed or not', async (t) => {
  const closed = await build(t, { env: { WEBHOOK_SECRETS: standard_secret } })
  for (const headers of [{}, signStripe(body, secret), signStripe(body, '')]) {
    t.match(await unchanged(t, closed, () => post(body, headers, closed)), REFUSED)
  }
})

t.test('an event over 256 KiB is refused', async (t) => {
  const large = body + ' '.repeat(MAX_BODY_BYTES)
  const reply = await unchanged(t, app, () => post(large, signStripe(large, secret)))
  t.match(reply, { status: 413, body: { code: 'body_too_large' } })
})

t.test('either secret of a rotation passes, and so does one signature of several', async (t) => {
  const applied = { status: 200, body: { data: { outcome: 'applied' } } }
  const duplicate = { status: 200, body: { data: { outcome: 'duplicate' } } }
  t.match(await post(body, signStripe(body, next_secret)), applied)
  t.match(await post(body, signStripe(body, secret)), duplicate)
  const [old, now] = ['whsec_somebodyElsesSecret0000', secret].map(
    (one) => signStripe(body, one)['stripe-signature'] ?? '',
  )
  t.match(await post(body, { 'stripe-signature': `${now},${old?.replace(/^t=\d+,/, '')}` }), duplicate)
  t.match(await post(body, signStripe(body, secret, TOLERANCE_S - SLACK_S)), duplicate, 'nearly five minutes')
})

t.test('the secrets are not told', async (t) => {
  const reply = await post(body, signStripe(body, 'whsec_somebodyElsesSecret0000'))
  const said = JSON.stringify([reply.body, reply.headers, app.log])
  for (const kept of [secret, next_secret]) t.notOk(said.includes(kept.slice('whsec_'.length)))
})
