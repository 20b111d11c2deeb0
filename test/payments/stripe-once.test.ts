import t, { type Test } from 'tap'
import { build } from '../fixtures/app.ts'
import type { HoldBody, OrderBody } from '../fixtures/resources.ts'
import { createSender, newEvent, newIntent, newSession } from './fixtures/stripe-events.ts'

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
