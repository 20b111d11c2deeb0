import { readFileSync } from 'node:fs'
import t from 'tap'
import { REFUND_REASONS } from '../../src/engine/records.ts'
import { build } from '../fixtures/app.ts'
import type { OrderBody } from '../fixtures/resources.ts'
import { unchanged } from './fixtures/everything.ts'
import {
  createSender,
  newCanceled,
  newDeclined,
  newEvent,
  newExpired,
  newIntent,
  newSession,
} from './fixtures/stripe-events.ts'

const secret = 'whsec_aVerySecretSigningSecret'
const app = await build(t, { env: { STRIPE_WEBHOOK_SECRET: secret } })
const product_id = await app.product(1_000)

const { did } = createSender(app, secret)

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
  'a session that nobody paid': {
    type: 'checkout.session.expired',
    object: (order) => newExpired(order).data.object,
    order: FAILED,
  },
  'a session that nobody paid, with a payment intent': {
    type: 'checkout.session.expired',
    object: (order) => newExpired(order, 'pi_4').data.object,
    order: FAILED,
  },
  'a payment intent that was given up': {
    type: 'payment_intent.canceled',
    object: (order) => newCanceled(newIntent(order)).data.object,
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

t.test(
  'an attempt that failed changes nothing: the next one on the same payment intent may succeed',
  async (t) => {
    const order = await newOrder()
    const intent = newIntent(order)
    const nothing = { outcome: 'ignored', order: null }
    await unchanged(t, app, async () => {
      for (const event of [newDeclined(intent), newDeclined(intent), newDeclined(newIntent(order))]) {
        t.same(await did(event), nothing)
      }
    })
    t.match(await did(newEvent('payment_intent.succeeded', intent)), { outcome: 'applied', order: PAID })
    t.same(await unchanged(t, app, () => did(newDeclined(intent))), nothing, 'announced late')
    t.match(await did(newEvent('checkout.session.completed', newSession(order, intent.id))), {
      outcome: 'duplicate',
    })
    t.match(await app.readOrder(order.order_id), PAID)
    t.match(await rows(order.order_id), [{ outcome: 'applied' }])
  },
)

t.test('an end that is announced after the money leaves the paid order alone', async (t) => {
  const order = await newOrder()
  await did(newEvent('payment_intent.succeeded', newIntent(order)))
  for (const event of [newExpired(order), newCanceled(newIntent(order))]) {
    t.match(await did(event), { outcome: 'ignored', order: PAID })
  }
  t.match(await app.readOrder(order.order_id), PAID)
})

t.test('the amount of a payment that failed is no matter', async (t) => {
  const wrong = [1, 0, -5, 1.5, '19800', null, undefined]
  for (const amount of wrong) {
    const [first, second] = [await newOrder(), await newOrder()]
    const session = { ...newExpired(first).data.object, amount_total: amount, currency: null }
    t.match(await did(newEvent('checkout.session.expired', session)), { outcome: 'applied', order: FAILED })
    const intent = { ...newIntent(second), amount, amount_received: amount, currency: 7 }
    t.match(await did(newCanceled(intent)), { outcome: 'applied', order: FAILED }, String(amount))
  }
})

t.test('a currency may come in any case', async (t) => {
  for (const currency of ['usd', 'USD', 'uSd']) {
    const [first, second] = [await newOrder(), await newOrder()]
    const session = newSession(first, 'pi_case', { currency })
    t.match(await did(newEvent('checkout.session.completed', session)), { outcome: 'applied' })
    const intent = newIntent(second, { currency })
    t.match(await did(newEvent('payment_intent.succeeded', intent)), { outcome: 'applied' })
  }
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
    ...['payment_intent.created', 'payment_intent.processing', 'payment_intent.payment_failed'],
    ...['charge.succeeded', 'charge.refunded', 'charge.dispute.created', 'customer.created', 'constructor'],
  ].map((type) => newEvent(type, intent))
  const nameless = [
    newEvent('payment_intent.succeeded', { ...intent, metadata: {} }),
    newEvent('payment_intent.succeeded', { ...intent, metadata: { order_id: '' } }),
    newEvent('payment_intent.succeeded', { ...intent, metadata: undefined }),
    newEvent('checkout.session.completed', newSession(order, intent.id, { metadata: null })),
    newEvent('checkout.session.completed', newSession(order, intent.id, { metadata: { cart: '7' } })),
    newExpired({ order_id: '', amount: 0 }),
    newCanceled({ ...intent, metadata: {} }),
    // A subscription or a card to be kept: nothing of it is what an order's session has.
    newEvent('checkout.session.completed', { id: 'cs_1', metadata: {}, amount_total: null, currency: null }),
    newEvent(
      'checkout.session.completed',
      newSession(order, null, { payment_status: 'no_payment_required' }),
    ),
  ]
  await unchanged(t, app, async () => {
    for (const event of [...ignored, ...nameless]) {
      t.same(await did(event), { outcome: 'ignored', order: null }, event.type)
    }
  })
})

t.test('an order id that can be none here is of something else, and ignored', async (t) => {
  const { order_id, amount } = await newOrder()
  const other_digit = order_id.endsWith('1') ? '2' : '1'
  const names = [
    ...[
      '7',
      'ord_',
      'hld_x',
      'cart 4711',
      `ord_${'x'.repeat(28)}`,
      ` ${order_id}`,
      `ord_${'\u0000'.repeat(28)}`,
    ],
    ...[`${order_id}0000`, order_id.replace('ord_', 'hld_'), order_id.toUpperCase()],
    ...[`${order_id.slice(0, -1)}${other_digit}`, `${order_id.slice(0, -1)}fff`],
  ]
  const strange = [7, true, null, [order_id], { order_id }]
  await unchanged(t, app, async () => {
    for (const named of [...names, ...strange]) {
      const intent = newIntent({ order_id, amount }, { metadata: { order_id: named } })
      const session = newSession({ order_id, amount }, 'pi_5', { metadata: { order_id: named } })
      const events = [
        newEvent('payment_intent.succeeded', intent),
        newEvent('payment_intent.succeeded', { ...intent, amount_received: null, currency: null }),
        newEvent('checkout.session.completed', session),
        newEvent('checkout.session.expired', session),
        newCanceled(intent),
      ]
      for (const event of events) t.same(await did(event), { outcome: 'ignored', order: null }, `${named}`)
    }
  })
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
