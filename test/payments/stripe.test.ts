import { readFileSync } from 'node:fs'
import t from 'tap'
import { REFUND_REASONS } from '../../src/engine/records.ts'
import { build } from '../fixtures/app.ts'
import type { OrderBody } from '../fixtures/resources.ts'
import { unchanged } from './fixtures/everything.ts'
import { createSender, newEvent, newIntent, newSession } from './fixtures/stripe-events.ts'

const secret = 'whsec_aVerySecretSigningSecret'
const app = await build(t, { env: { STRIPE_WEBHOOK_SECRET: secret } })
const product_id = await app.product(1_000)

const { send, did } = createSender(app, secret)

const newHold = () => app.hold(product_id, 2)
const newOrder = async () => app.order(await newHold())
const rows = (order_id: string) =>
  app.sql<{ outcome: string; reason: string | null }>(
    'select outcome, reason, transaction_id from payments where order_id = $1 order by created_at, idempotency_key',
    [order_id],
  )

const PAID = { payment_status: 'paid', order_status: 'confirmed' }
const FAILED = { payment_status: 'failed', order_status: 'cancelled', cancel_reason: 'payment_failed' }

type Made = { type: string; object: (order: OrderBody) => object; order: object }
const EVENTS: Record<string, Made> = {
  'a session that was paid at once': {
    type: 'checkout.session.completed',
    object: (order) => newSession(order, 'pi_1'),
    order: PAID,
  },
  'a session with its payment intent unfolded': {
    type: 'checkout.session.completed',
    object: (order) => newSession(order, newIntent(order)),
    order: PAID,
  },
  'a session that does not name its payment intent': {
    type: 'checkout.session.completed',
    object: (order) => newSession(order, null),
    order: PAID,
  },
  'a session whose money came later': {
    type: 'checkout.session.async_payment_succeeded',
    object: (order) => newSession(order, 'pi_2'),
    order: PAID,
  },
  'a session whose money never came': {
    type: 'checkout.session.async_payment_failed',
    object: (order) => newSession(order, 'pi_3', { payment_status: 'unpaid' }),
    order: FAILED,
  },
  'a payment intent that succeeded': {
    type: 'payment_intent.succeeded',
    object: (order) => newIntent(order),
    order: PAID,
  },
  'a payment intent that failed': {
    type: 'payment_intent.payment_failed',
    object: (order) =>
      newIntent(order, {
        status: 'requires_payment_method',
        amount_received: 0,
        last_payment_error: { code: 'card_declined', type: 'card_error' },
      }),
    order: FAILED,
  },
}

for (const [name, { type, object, order: wanted }] of Object.entries(EVENTS)) {
  t.test(`${name} (${type}) is applied to its order`, async (t) => {
    const order = await newOrder()
    const event = newEvent(type, object(order))
    t.match(await did(event), { outcome: 'applied', order: wanted })
    t.match(await app.readOrder(order.order_id), wanted)
    t.match(await rows(order.order_id), [{ outcome: 'applied' }])
    t.match(await did(event), { outcome: 'duplicate', first_outcome: 'applied' }, 'sent again it counts once')
    t.equal((await rows(order.order_id)).length, 1)
  })
}

t.test('a session that is complete but unpaid says nothing yet', async (t) => {
  const order = await newOrder()
  const session = newSession(order, 'pi_later', { payment_status: 'unpaid' })
  t.same(await unchanged(t, app, () => did(newEvent('checkout.session.completed', session))), {
    outcome: 'ignored',
    order: null,
  })
  const paid = { ...session, payment_status: 'paid' }
  t.match(await did(newEvent('checkout.session.async_payment_succeeded', paid)), {
    outcome: 'applied',
    order: PAID,
  })
})

t.test('two payments of one order are two: the second is due for refund', async (t) => {
  const order = await newOrder()
  t.match(await did(newEvent('payment_intent.succeeded', newIntent(order))), { outcome: 'applied' })
  t.match(await did(newEvent('payment_intent.succeeded', newIntent(order))), {
    outcome: 'refund_due',
    reason: 'already_paid',
  })
})

t.test('an attempt that fails is followed by one that succeeds on the same payment intent', async (t) => {
  const order = await newOrder()
  const intent = newIntent(order)
  const failed = () => newEvent('payment_intent.payment_failed', { ...intent, amount_received: 0 })
  t.match(await did(failed()), { outcome: 'applied', order: FAILED })
  t.match(await did(failed()), { outcome: 'duplicate' }, 'a second failed attempt')
  t.match(await did(newEvent('payment_intent.succeeded', intent)), { outcome: 'applied', order: PAID })
  t.match(await did(newEvent('checkout.session.completed', newSession(order, intent.id))), {
    outcome: 'duplicate',
  })
  t.match(await app.readOrder(order.order_id), PAID)
})

t.test('an attempt that failed and is announced late leaves the paid order alone', async (t) => {
  const order = await newOrder()
  const intent = newIntent(order)
  await did(newEvent('payment_intent.succeeded', intent))
  t.match(await did(newEvent('payment_intent.payment_failed', { ...intent, amount_received: 0 })), {
    outcome: 'ignored',
    order: PAID,
  })
})

t.test('money of another amount or currency is due for refund', async (t) => {
  const objects = (order: OrderBody) => [
    newEvent('checkout.session.completed', newSession(order, 'pi_a', { amount_total: order.amount + 500 })),
    newEvent('checkout.session.completed', newSession(order, 'pi_b', { currency: 'eur' })),
    newEvent('payment_intent.succeeded', newIntent(order, { amount_received: order.amount - 1 })),
    newEvent('payment_intent.succeeded', newIntent(order, { currency: 'jpy' })),
  ]
  const order = await newOrder()
  for (const event of objects(order)) {
    t.match(await did(event), { outcome: 'refund_due', reason: 'amount_mismatch', order })
  }
  t.match(await app.readOrder(order.order_id), { payment_status: 'pending' })
})

t.test('whatever says nothing of the payment of an order is answered 200 and ignored', async (t) => {
  const order = await newOrder()
  const intent = newIntent(order)
  const ignored = [
    ...['payment_intent.created', 'payment_intent.processing', 'payment_intent.canceled', 'charge.succeeded'],
    ...['charge.refunded', 'charge.dispute.created', 'checkout.session.expired', 'customer.created'],
  ].map((type) => newEvent(type, intent))
  const nameless = [
    newEvent('payment_intent.succeeded', { ...intent, metadata: {} }),
    newEvent('payment_intent.succeeded', { ...intent, metadata: { order_id: '' } }),
    newEvent('payment_intent.succeeded', { ...intent, metadata: undefined }),
    newEvent('checkout.session.completed', newSession(order, intent.id, { metadata: null })),
    newEvent('checkout.session.completed', newSession(order, intent.id, { metadata: { cart: '7' } })),
  ]
  await unchanged(t, app, async () => {
    for (const event of [...ignored, ...nameless]) {
      t.same(await did(event), { outcome: 'ignored', order: null }, event.type)
    }
  })
})

t.test('an order id that can be none is refused', async (t) => {
  for (const order_id of [
    '7',
    'ord_',
    'hld_x',
    `ord_${'x'.repeat(28)}`,
    `${(await newOrder()).order_id}0000`,
  ]) {
    const intent = newIntent({ order_id, amount: 1 })
    const reply = await unchanged(t, app, () => send(newEvent('payment_intent.succeeded', intent)))
    t.match(reply, {
      status: 400,
      body: { code: 'validation_failed', errors: [{ path: '/data/object/metadata/order_id' }] },
    })
  }
})

t.test('the page for shops names these events and reasons, and no others', async (t) => {
  const page = readFileSync(new URL('../../docs/stripe.md', import.meta.url), 'utf8')
  const named = (pattern: RegExp) => new Set([...page.matchAll(pattern)].map(([, word]) => word))
  const types = new Set(Object.values(EVENTS).map(({ type }) => type))
  t.same(named(/^\| `([a-z_.]+)` \|/gm), types)
  const reasons = [...named(/due for refund \(`([a-z_]+)`\)/g)]
  t.ok(reasons.length > 0)
  t.same(
    reasons.filter((reason) => !REFUND_REASONS.some((one) => one === reason)),
    [],
  )
})
