import t, { type Test } from 'tap'
import { type App, build, newKey } from '../fixtures/app.ts'
import type { HoldBody } from '../fixtures/resources.ts'
import { until } from '../fixtures/until.ts'
import { isWhole, openMover } from './fixtures/mover.ts'
import { openPredecessor } from './fixtures/predecessor.ts'
import { remember } from './fixtures/remember.ts'

/*
  A Redis that comes back without its last second has the hold of an order that PostgreSQL has: a payment that comes before anybody
  notices is parked for that hold. The rebuild has to bring the two together.
*/

const SHARD = 0
const TTL = { HOLD_TTL_SECONDS: '3600', ORDER_TTL_SECONDS: '3600' }

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
async function forgotten(t: Test, { before, status }: Pick<Case, 'before' | 'status'>, shards = '1') {
  const app = await build(t, { env: { ...TTL, STOCK_SHARDS: shards } })
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
  return { app, product, hold, key }
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

const MOVED_TO = 2

/** The payment of an order that was over was parked, and moved with its product; its order stayed. Now nobody waits for it any longer. */
async function movedAway(t: Test) {
  const before = (app: App, { order_id }: HoldBody) => app.paid(order_id, 'failed')
  const { app, product, hold, key } = await forgotten(t, { status: 'success', before }, '3')
  await openMover(t, app).move([product], MOVED_TO)
  await isWhole(app)
  const { engine, redis } = app
  await redis.zadd(engine.keys.shard(MOVED_TO, 'parked'), 'XX', 1, hold.order_id.slice('ord_'.length))
  return { app, hold, key }
}

async function settle({ engine, service }: App, loadOrder?: (id: string) => Promise<unknown>) {
  const entries = await engine.settleParked(MOVED_TO, loadOrder)
  for (const entry of entries) await service.writer.commit(entry)
}

t.test('before a payment is given up PostgreSQL is asked for its order, wherever that is', async (t) => {
  const { app, hold, key } = await movedAway(t)
  await settle(app, app.service.lookup.loadOrder)
  t.match(await paymentOf(app, key), { outcome: 'applied' })
  t.match(await app.expect(200, app.call('GET', `/api/orders/${hold.order_id}`)), { payment_status: 'paid' })
  await app.agree(t, 'afterwards')
})

t.test('one whose order can not be asked for stays parked', async (t) => {
  const { app, key } = await movedAway(t)
  await t.rejects(settle(app, () => Promise.reject(new Error('PostgreSQL is away'))))
  t.match(await paymentOf(app, key), { outcome: 'parked' })
})

t.test('control: where nobody asks, its money has to go back', async (t) => {
  const { app, key } = await movedAway(t)
  await settle(app)
  t.match(await paymentOf(app, key), { outcome: 'refund_due' })
})
