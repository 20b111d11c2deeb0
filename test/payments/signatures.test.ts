import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import { unchanged } from './fixtures/everything.ts'

const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`
const FIVE_MINUTES_S = 300
/** A request may be a moment on its way. */
const SLACK_S = 20
const MAX_BODY_BYTES = 64 * 1024

const [secret, next_secret, retired_secret] = [newSecret(), newSecret(), newSecret()]
const app = await build(t, { env: { WEBHOOK_SECRETS: `${secret},${next_secret}` } })
const order = await app.order(await app.hold(await app.product(10)))

type Headers = Record<string, string>
type Options = { with_secret?: string; age_s?: number; id?: string }

/** What a sender does who knows nothing but the official package. */
function sign(body: string, { with_secret = secret, age_s = 0, id = newKey() }: Options = {}): Headers {
  const at = new Date(Math.floor(Date.now() / 1000 - age_s) * 1000)
  return {
    'webhook-id': id,
    'webhook-timestamp': String(at.getTime() / 1000),
    'webhook-signature': new Webhook(with_secret).sign(id, at, body),
  }
}

const deliver = (body: string | Buffer, headers: Headers) =>
  app.call('POST', '/api/payments/webhook', body, { headers })

const notice = (more: object = {}) => ({
  ...{ idempotency_key: newKey(), order_id: order.order_id, status: 'success', amount: order.amount },
  ...more,
})
const REFUSED = { status: 401, body: { code: 'invalid_signature' } }

t.test('one changed bit anywhere in the body is noticed', async (t) => {
  const body = Buffer.from(JSON.stringify(notice({ transaction_id: 'tx_Ünïcode' })))
  const headers = sign(body.toString())
  await unchanged(t, app, async () => {
    const passed: string[] = []
    for (let at = 0; at < body.length; at += 1) {
      const changed = Buffer.from(body)
      changed.writeUInt8(changed.readUInt8(at) ^ (1 << (at % 8)), at)
      const { status } = await deliver(changed, headers)
      if (status !== 401) passed.push(`${at}: ${status}`)
    }
    t.same(passed, [], `${body.length} bytes`)
  })
  t.match(await deliver(body, headers), { status: 200 }, 'unchanged it passes')
})

t.test('what was not signed as it stands is refused, and changes nothing', async (t) => {
  const body = JSON.stringify(notice())
  const parsed = JSON.parse(body) as object
  const headers = sign(body)
  const signature = headers['webhook-signature'] ?? ''
  const without = (name: string) =>
    Object.fromEntries(Object.entries(headers).filter(([one]) => one !== name))
  const cases: Record<string, [string, Headers]> = {
    'written anew with spaces': [JSON.stringify(parsed, null, 2), headers],
    'written anew in another order': [
      JSON.stringify(Object.fromEntries(Object.entries(parsed).reverse())),
      headers,
    ],
    'a line feed more': [`${body}\n`, headers],
    'a byte less': [body.slice(0, -1), headers],
    'another body': [JSON.stringify(notice()), headers],
    'no body': ['', headers],
    'a secret of nobody': [body, sign(body, { with_secret: newSecret() })],
    'a retired secret': [body, sign(body, { with_secret: retired_secret })],
    'more than five minutes old': [body, sign(body, { age_s: FIVE_MINUTES_S + SLACK_S })],
    'more than five minutes ahead': [body, sign(body, { age_s: -FIVE_MINUTES_S - SLACK_S })],
    'an old one with a new timestamp': [
      body,
      { ...sign(body, { age_s: 3600 }), 'webhook-timestamp': headers['webhook-timestamp'] ?? '' },
    ],
    'another id': [body, { ...headers, 'webhook-id': newKey() }],
    'no id': [body, without('webhook-id')],
    'no timestamp': [body, without('webhook-timestamp')],
    'no signature': [body, without('webhook-signature')],
    'no headers at all': [body, {}],
    'an empty signature': [body, { ...headers, 'webhook-signature': '' }],
    'a version without a signature': [body, { ...headers, 'webhook-signature': 'v1,' }],
    'the right signature under another version': [
      body,
      { ...headers, 'webhook-signature': signature.replace('v1,', 'v2,') },
    ],
    'the right signature under the version of public keys': [
      body,
      { ...headers, 'webhook-signature': signature.replace('v1,', 'v1a,') },
    ],
    'the right signature without a version': [
      body,
      { ...headers, 'webhook-signature': signature.replace('v1,', '') },
    ],
    'a part of the right signature': [body, { ...headers, 'webhook-signature': signature.slice(0, -4) }],
  }
  for (const [name, [sent, with_headers]] of Object.entries(cases)) {
    t.match(await unchanged(t, app, () => deliver(sent, with_headers)), REFUSED, name)
  }
})

t.test('a body that is none is not spoken of to a sender who has not signed it', async (t) => {
  for (const body of ['{"idempotency_key"', 'null', '"text"', '{"a":1,"a":2}', '[]', '{}']) {
    t.match(await unchanged(t, app, () => deliver(body, {})), REFUSED, `${body}, unsigned`)
    const reply = await unchanged(t, app, () => deliver(body, sign(body)))
    t.match(reply, { status: 400, body: { code: 'validation_failed' } }, `${body}, signed`)
  }
})

t.test('a body over 64 KiB is refused before anybody looks at its signature', async (t) => {
  const padded = (bytes: number) => {
    const body = JSON.stringify(notice({ transaction_id: 'x' }))
    return body + ' '.repeat(bytes - body.length)
  }
  const large = padded(MAX_BODY_BYTES + 1)
  const too_large = { status: 413, body: { code: 'body_too_large' } }
  t.match(await unchanged(t, app, () => deliver(large, sign(large))), too_large, 'signed')
  t.match(await unchanged(t, app, () => deliver(large, {})), too_large, 'unsigned')
  const largest = padded(MAX_BODY_BYTES)
  t.match(await deliver(largest, sign(largest)), { status: 200 }, '64 KiB pass')
})

t.test('either secret of a rotation passes, alone or beside others', async (t) => {
  const body = JSON.stringify(notice())
  t.match(await deliver(body, sign(body)), { status: 200, body: { data: { outcome: 'refund_due' } } })
  const duplicate = { status: 200, body: { data: { outcome: 'duplicate' } } }
  t.match(await deliver(body, sign(body, { with_secret: next_secret })), duplicate)
  const id = newKey()
  const both = [retired_secret, secret].map((with_secret) => sign(body, { with_secret, id }))
  const signatures = both.map((headers) => headers['webhook-signature']).join(' ')
  t.match(await deliver(body, { ...both[0], 'webhook-signature': signatures }), duplicate)
})

t.test('nearly five minutes are no reason to refuse', async (t) => {
  const body = JSON.stringify(notice())
  for (const age_s of [FIVE_MINUTES_S - SLACK_S, -FIVE_MINUTES_S + SLACK_S]) {
    t.match(await deliver(body, sign(body, { age_s })), { status: 200 }, `${age_s} s`)
  }
})

t.test('the secret is not told', async (t) => {
  const body = JSON.stringify(notice())
  const reply = await deliver(body, sign(body, { with_secret: retired_secret }))
  const said = JSON.stringify([reply.body, reply.headers, app.log])
  for (const kept of [secret, next_secret]) t.notOk(said.includes(kept.slice('whsec_'.length)))
})
