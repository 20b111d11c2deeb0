import t, { type Test } from 'tap'
import { type App, build, newKey } from '../fixtures/app.ts'
import type { HoldBody } from '../fixtures/resources.ts'
import { until } from '../fixtures/until.ts'
import { openPredecessor } from './fixtures/predecessor.ts'

/*
  A Redis that comes back without its last second has the hold of an order that PostgreSQL has: a payment that comes before anybody
  notices is parked for that hold. The rebuild has to bring the two together.
*/

const SHARD = 0

/** Remembers all that Redis has, and answers how it comes to have that again. */
async function remember({ redis, keys }: App): Promise<() => Promise<void>> {
  const saved = await Promise.all(
    (await keys()).map(async (key) => ({
      key,
      value: await redis.dumpBuffer(key),
      end: Math.max(0, await redis.pexpiretime(key)),
    })),
  )
  return async () => {
    for (const key of await keys()) await redis.del(key)
    for (const { key, value, end } of saved) await redis.restore(key, end, value, 'ABSTTL')
  }
}

type Case = {
  what: string
  /** What becomes of the order before Redis forgets it. */
  before?: (app: App, hold: HoldBody) => Promise<unknown>
  status: 'success' | 'failed'
  order: object
  payment: object
}

const CASES: Case[] = [
  {
    what: 'a success pays for it',
    status: 'success',
    order: { payment_status: 'paid', order_status: 'confirmed' },
    payment: { outcome: 'applied', first_outcome: 'parked' },
  },
  {
    what: 'a failure cancels it',
    status: 'failed',
    order: { payment_status: 'failed', order_status: 'cancelled', cancel_reason: 'payment_failed' },
    payment: { outcome: 'applied', first_outcome: 'parked' },
  },
  {
    what: 'a success for one that was cancelled has to go back',
    before: (app, { order_id }) => app.expect(200, app.call('DELETE', `/api/orders/${order_id}`)),
    status: 'success',
    order: { order_status: 'cancelled', cancel_reason: 'requested' },
    payment: { outcome: 'refund_due', reason: 'order_cancelled' },
  },
  {
    what: 'a second success for one that was paid has to go back',
    before: (app, { order_id }) => app.paid(order_id, 'success'),
    status: 'success',
    order: { payment_status: 'paid', order_status: 'confirmed' },
    payment: { outcome: 'refund_due', reason: 'already_paid' },
  },
]

async function rebuild(app: App): Promise<void> {
  app.engine.fence.close(SHARD, 'another Redis answers', 'wrong')
  await until('an open shard', () => app.engine.fence.isOpen(SHARD))
}

/** An order that Redis has forgotten, and a payment that was parked for its hold. */
async function forgotten(t: Test, { before, status }: Pick<Case, 'before' | 'status'>) {
  const app = await build(t, { env: { HOLD_TTL_SECONDS: '3600', ORDER_TTL_SECONDS: '3600' } })
  const product = await app.product(3)
  const hold = await app.hold(product, 2)
  const goBack = await remember(app)
  await app.order(hold)
  await before?.(app, hold)
  await goBack()
  const key = newKey()
  t.match(
    await app.paid(hold.order_id, status, {}, key),
    { outcome: 'parked' },
    'its hold is there once more',
  )
  return { app, hold, key }
}

const paymentOf = async (app: App, key: string) =>
  (await app.sql('select outcome, first_outcome, reason from payments where idempotency_key = $1', [key]))[0]

for (const { what, order, payment, ...one } of CASES) {
  t.test(`a payment that was parked for an order that Redis had forgotten: ${what}`, async (t) => {
    const { app, hold, key } = await forgotten(t, one)
    await rebuild(app)
    t.match(await paymentOf(app, key), payment)
    t.match(await app.expect(200, app.call('GET', `/api/orders/${hold.order_id}`)), order)
    t.match(await app.paid(hold.order_id, one.status, {}, key), {
      outcome: 'duplicate',
      first_outcome: 'parked',
    })
    await app.agree(t, 'afterwards')
  })
}

t.test('nothing is left parked, and a rebuild after that changes nothing', async (t) => {
  const { app, hold, key } = await forgotten(t, { status: 'success' })
  await rebuild(app)
  t.equal(await app.redis.zcard(app.engine.keys.shard(SHARD, 'parked')), 0)
  t.equal(await app.redis.xlen(app.engine.keys.shard(SHARD, 'journal')), 0)
  await rebuild(app)
  t.match(await paymentOf(app, key), { outcome: 'applied' })
  t.match(await app.expect(200, app.call('GET', `/api/orders/${hold.order_id}`)), { payment_status: 'paid' })
  await app.agree(t, 'afterwards')
})

t.test('control: where the step does not look for the order, its payment stays parked', async (t) => {
  const { app, key } = await forgotten(t, { status: 'success' })
  const predecessor = await openPredecessor(t, app, {
    change: [['local order = find_order(keys.order)\nif not deadline_ms', 'local order\nif not deadline_ms']],
  })
  t.equal(await (await predecessor.rebuildUntil(() => false)).goOn(), undefined)
  t.match(await paymentOf(app, key), { outcome: 'parked' })
})
