import t, { type Test } from 'tap'
import { build } from '../fixtures/app.ts'
import type { HoldBody, OrderBody } from '../fixtures/resources.ts'
import {
  createSender,
  newCanceled,
  newEvent,
  newExpired,
  newIntent,
  newSession,
} from './fixtures/stripe-events.ts'

/*
  Stripe announces one payment by an event of its session and one of its payment intent, in any order.
*/
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

/** Asserts that the two events by which Stripe announces one payment count as one. */
async function countOnce(
  t: Test,
  made: HoldBody | OrderBody,
  is_session_first: boolean,
  between: () => Promise<unknown> = async () => {},
) {
  const intent = newIntent(made)
  const both = [
    newEvent('checkout.session.completed', newSession(made, intent.id)),
    newEvent('payment_intent.succeeded', intent),
  ] as const
  const [first, second] = is_session_first ? both : ([both[1], both[0]] as const)
  const { outcome } = await did(first)
  await between()
  t.match(
    await did(second),
    { outcome: 'duplicate', first_outcome: outcome },
    'the second is the first again',
  )
  t.match(await did(second), { outcome: 'duplicate' }, 'however often')
  t.match(await did(first), { outcome: 'duplicate' })
  return { outcome, intent }
}

for (const is_session_first of [true, false]) {
  const which = is_session_first ? 'the session first' : 'the payment intent first'
  t.test(`the two events of one payment count once, ${which}`, async (t) => {
    const order = await newOrder()
    const { outcome, intent } = await countOnce(t, order, is_session_first)
    t.equal(outcome, 'applied')
    t.same(await rows(order.order_id), [{ outcome: 'applied', reason: null, transaction_id: intent.id }])
  })

  t.test(`the two events of one payment count once before their order, ${which}`, async (t) => {
    const hold = await newHold()
    t.equal((await countOnce(t, hold, is_session_first)).outcome, 'parked')
    t.match(await app.order(hold), PAID)
    t.match(await rows(hold.order_id), [{ outcome: 'applied' }])
  })

  t.test(`the two events of one payment count once around their order, ${which}`, async (t) => {
    const hold = await newHold()
    await countOnce(t, hold, is_session_first, () => app.order(hold))
    t.match(await app.readOrder(hold.order_id), PAID)
    t.match(await rows(hold.order_id), [{ outcome: 'applied' }])
  })

  t.test(`the two events of one payment count once though Redis forgot the order, ${which}`, async (t) => {
    const order = await newOrder()
    await countOnce(t, order, is_session_first, async () => {
      await app.agree(t, 'between them')
      await app.redis.del(app.engine.keys.id(0, 'order', order.order_id.slice('ord_'.length)))
    })
    t.match(await rows(order.order_id), [{ outcome: 'applied' }])
  })

  t.test(`the two events of one payment are one refund when their hold was released, ${which}`, async (t) => {
    const hold = await newHold()
    await countOnce(t, hold, is_session_first, () => app.call('DELETE', `/api/holds/${hold.hold_id}`))
    t.match(await rows(hold.order_id), [{ outcome: 'refund_due', reason: 'hold_released' }])
  })
}

t.test('the two events of one payment count once when both are delivered ten times at once', async (t) => {
  for (const made of [await newOrder(), await newHold()]) {
    const intent = newIntent(made)
    const both = [
      newEvent('checkout.session.completed', newSession(made, intent.id)),
      newEvent('payment_intent.succeeded', intent),
    ]
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => both)
        .flat()
        .map(did),
    )
    t.equal(answers.filter(({ outcome }) => outcome === 'duplicate').length, 19)
    t.equal((await rows(made.order_id)).length, 1)
  }
})

/** A session that expired and its payment intent that was given up with it, in this order or the other. */
function endsOf(made: HoldBody | OrderBody, is_session_first: boolean, names_intent: boolean) {
  const intent = newIntent(made)
  const both = [newExpired(made, names_intent ? intent.id : null), newCanceled(intent)] as const
  return is_session_first ? both : ([both[1], both[0]] as const)
}

for (const is_session_first of [true, false]) {
  const which = is_session_first ? 'the session first' : 'the payment intent first'
  t.test(`the two events of one end count once, ${which}`, async (t) => {
    const order = await newOrder()
    const [first, second] = endsOf(order, is_session_first, true)
    t.match(await did(first), { outcome: 'applied', order: FAILED })
    t.match(await did(second), { outcome: 'duplicate', first_outcome: 'applied' })
    t.match(await rows(order.order_id), [{ outcome: 'applied' }])
    await app.agree(t, 'after both')
  })

  t.test(`an end whose events do not name each other gives its units back once, ${which}`, async (t) => {
    const order = await newOrder()
    const [first, second] = endsOf(order, is_session_first, false)
    t.match(await did(first), { outcome: 'applied', order: FAILED })
    t.match(await did(second), { outcome: 'ignored', order: FAILED })
    t.match(await did(second), { outcome: 'duplicate', first_outcome: 'ignored' })
    await app.agree(t, 'after both')
  })

  t.test(`the two events of one end before their order cancel it once, ${which}`, async (t) => {
    for (const names_intent of [true, false]) {
      const hold = await newHold()
      const [first, second] = endsOf(hold, is_session_first, names_intent)
      t.match(await did(first), { outcome: 'parked' })
      t.match(await did(second), { outcome: names_intent ? 'duplicate' : 'parked' })
      t.match(await app.order(hold), FAILED)
      await app.agree(t, 'after both')
    }
  })
}

t.test('an end does not count for the money that came on another payment intent', async (t) => {
  const order = await newOrder()
  const [expired, canceled] = endsOf(order, true, true)
  t.match(await did(expired), { outcome: 'applied', order: FAILED })
  const intent = newIntent(order)
  t.match(await did(newEvent('payment_intent.succeeded', intent)), { outcome: 'applied', order: PAID })
  t.match(await did(canceled), { outcome: 'duplicate' })
  t.match(await did(newExpired(order)), { outcome: 'ignored', order: PAID })
  t.match(await app.readOrder(order.order_id), PAID)
  await app.agree(t, 'at the end')
})
