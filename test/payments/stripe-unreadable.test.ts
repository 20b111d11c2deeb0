import t, { type Test } from 'tap'
import { build } from '../fixtures/app.ts'
import { unchanged } from './fixtures/everything.ts'
import {
  createSender,
  newCanceled,
  newEvent,
  newExpired,
  newIntent,
  newSession,
  signStripe,
} from './fixtures/stripe-events.ts'

/*
  Events that Stripe's secret has signed, but that do not say what such an event has to.
*/
const secret = 'whsec_aVerySecretSigningSecret'
const app = await build(t, { env: { STRIPE_WEBHOOK_SECRET: secret } })
const order = await app.order(await app.hold(await app.product(10)))
const { send, did } = createSender(app, secret)
const intent = newIntent(order)
const OBJECT = '/data/object'
const IGNORED = { outcome: 'ignored', order: null }

const SESSIONS_PAID = ['checkout.session.completed', 'checkout.session.async_payment_succeeded'] as const
const SESSIONS_ENDED = ['checkout.session.async_payment_failed', 'checkout.session.expired'] as const
/** What each event that ends a payment is about. */
const ENDS = {
  'checkout.session.completed': newSession(order, intent.id),
  'checkout.session.async_payment_succeeded': newSession(order, intent.id),
  'checkout.session.async_payment_failed': newSession(order, intent.id, { payment_status: 'unpaid' }),
  'checkout.session.expired': newExpired(order).data.object,
  'payment_intent.succeeded': intent,
  'payment_intent.canceled': newCanceled(intent).data.object,
}
type End = keyof typeof ENDS

/** Asserts that each of some events is answered 400, with the given path, and that none has changed anything. */
async function refused(t: Test, events: unknown[], path: string) {
  await unchanged(t, app, async () => {
    for (const event of events) {
      const { status, body, text } = await send(event as object | string)
      const wanted = { status: 400, body: { code: 'validation_failed', errors: [{ path }] } }
      t.match({ status, body }, wanted, `${JSON.stringify(event)?.slice(0, 200)}: ${text}`)
    }
  })
}

t.test('a body that is no JSON object is refused', async (t) => {
  const nested = `${'['.repeat(40)}${']'.repeat(40)}`
  await refused(t, ['', '{', 'evt_1', '{"a":1,"a":2}', nested, 'null', '7', '"text"', '[]', '[{}]'], '')
})

t.test('an event of no type is refused', async (t) => {
  const event = newEvent('payment_intent.succeeded', intent)
  await refused(
    t,
    [undefined, null, 7, ['payment_intent.succeeded']].map((type) => ({ ...event, type })),
    '/type',
  )
})

for (const [type, object] of Object.entries(ENDS)) {
  const event = newEvent(type, object)
  t.test(`${type} without what tells events apart is refused`, async (t) => {
    const wrong = [undefined, 7, '', null, {}, 'e'.repeat(256), 'evt_\u0000', 'evt_\ud800']
    await refused(
      t,
      wrong.map((id) => ({ ...event, id })),
      '/id',
    )
  })

  t.test(`${type} without its object is refused`, async (t) => {
    const wrong = [undefined, null, 'pi_1', 7, [object]]
    const without_data = wrong.map((data) => ({ ...event, data }))
    const without_object = wrong.map((its) => ({ ...event, data: { object: its } }))
    await refused(t, without_data, '/data')
    await refused(t, without_object, OBJECT)
  })

  t.test(`${type} with metadata that are none is refused`, async (t) => {
    const wrong = ['order', 7, [order.order_id], true]
    const events = wrong.map((metadata) => newEvent(type, { ...object, metadata }))
    await refused(t, events, `${OBJECT}/metadata`)
  })
}

const WRONG_AMOUNTS = [null, undefined, -1, 1.5, '19800', true, {}, 2 ** 53, 1e300]
const WRONG_CURRENCIES = [null, undefined, '', 'us', 'usdt', 'uß', 'ﬁd', 840, {}, 'us1', ' usd']
const WRONG_IDS = [7, '', true, [], 'p'.repeat(201), 'pi\n1']
/** What a field may not be, by the events that state something in it. */
const WRONG: Array<{ field: string; values: unknown[]; types: readonly End[] }> = [
  { field: 'amount_total', values: WRONG_AMOUNTS, types: SESSIONS_PAID },
  { field: 'amount_received', values: WRONG_AMOUNTS, types: ['payment_intent.succeeded'] },
  { field: 'currency', values: WRONG_CURRENCIES, types: [...SESSIONS_PAID, 'payment_intent.succeeded'] },
  { field: 'payment_intent', values: WRONG_IDS, types: [...SESSIONS_PAID, ...SESSIONS_ENDED] },
  {
    field: 'id',
    values: [...WRONG_IDS, {}, null, undefined],
    types: ['payment_intent.succeeded', 'payment_intent.canceled'],
  },
  {
    field: 'payment_status',
    values: [null, undefined, 7, ['paid']],
    types: ['checkout.session.completed'],
  },
]
for (const { field, values, types } of WRONG) {
  t.test(`an event whose ${field} is none is refused`, async (t) => {
    const events = types.flatMap((type) =>
      values.map((value) => newEvent(type, { ...ENDS[type], [field]: value })),
    )
    await refused(t, events, `${OBJECT}/${field}`)
  })
}

t.test('a payment intent that is unfolded without its id is refused', async (t) => {
  for (const payment_intent of [{}, { id: 7 }, { id: null }]) {
    const events = [...SESSIONS_PAID, ...SESSIONS_ENDED].map((type) =>
      newEvent(type, { ...ENDS[type], payment_intent }),
    )
    await unchanged(t, app, async () => {
      for (const event of events)
        t.match(await send(event), { status: 400, body: { code: 'validation_failed' } })
    })
  }
})

t.test('what is wrong is said by its place', async (t) => {
  const wrong = { ...intent, amount_received: '19800' }
  const { body } = await send(newEvent('payment_intent.succeeded', wrong))
  const errors = [{ path: `${OBJECT}/amount_received`, message: 'must be integer' }]
  t.match(body, { detail: 'data/object/amount_received must be integer.', errors })
})

t.test('an event that is no matter here may look as it likes', async (t) => {
  const thin = {
    id: 'evt_thin',
    object: 'v2.core.event',
    type: 'v1.billing.meter.error_report_triggered',
    related_object: null,
  }
  await unchanged(t, app, async () => {
    t.same(await did(thin), IGNORED)
    t.same(await did({ ...newEvent('payment_intent.succeeded', intent), object: 'v2.core.event' }), IGNORED)
    t.same(await did({ id: 7, type: 'charge.succeeded', data: null }), IGNORED)
    t.same(await did({ type: 'payment_intent.payment_failed' }), IGNORED)
  })
})

t.test('a body that is none is not spoken of to a sender who has not signed it', async (t) => {
  for (const body of ['{', 'null', '{}', '{"a":1,"a":2}']) {
    const forged = signStripe(body, 'whsec_somebodyElsesSecret0000')
    const reply = await app.call('POST', '/api/payments/webhook/stripe', body, { headers: forged })
    t.match(reply, { status: 401, body: { code: 'invalid_signature' } })
  }
})

t.test('control: the same events pass as they should be', async (t) => {
  for (const [type, object] of Object.entries(ENDS)) {
    const made = await app.order(await app.hold(1))
    const event = newEvent(type, { ...object, metadata: { order_id: made.order_id } })
    const status = /succeeded|completed/.test(type) ? 'paid' : 'failed'
    t.match(await did(event), { outcome: 'applied', order: { payment_status: status } }, type)
  }
})
