import t from 'tap'
import type { ProductRecord } from '../../src/db/products.ts'
import type { StoredHold } from '../../src/engine/rebuilding.ts'
import { chooseSurvivors } from '../../src/recovery/rebuild.ts'
import { type App, build } from '../fixtures/app.ts'
import { TERMS } from '../fixtures/redis.ts'
import { until } from '../fixtures/until.ts'

const NOW_MS = 1_000_000

/** A hold of product 1 that was placed so many ms ago and lives for as long again. */
function hold(id: string, age_ms: number, qty = 1): StoredHold {
  return {
    id,
    items: [{ product_id: 1, qty, unit_amount: 9900 }],
    amount: qty * 9900,
    currency: 'USD',
    customer_id: null,
    created_at_ms: NOW_MS - age_ms,
    expires_at_ms: NOW_MS + age_ms,
    member: id,
    is_prepaid: false,
  }
}

const product = (total: number): ProductRecord => ({
  id: 1,
  shard: 0,
  terms: TERMS,
  total,
  pending: 0,
  sold: 0,
  version: 1,
})

/** The ids of those that are kept, in their turn, and of those that are dropped. */
function choose(holds: StoredHold[], paid: string[], total: number) {
  const { kept, dropped } = chooseSurvivors(holds, new Set(), new Set(paid), [product(total)], NOW_MS)
  return { kept: kept.map(({ id }) => id), dropped: dropped.map((one) => one.hold.id) }
}

t.test('where units are short holds go on in the order in which they were placed', async (t) => {
  const holds = [hold('second', 20), hold('third', 10), hold('first', 30)]
  t.same(choose(holds, [], 2), { kept: ['first', 'second'], dropped: ['third'] })
})

t.test('those whose money has come go first, in that order too', async (t) => {
  const holds = [hold('early', 40), hold('paid late', 10), hold('paid early', 30), hold('late', 20)]
  const paid = ['paid late', 'paid early']
  t.same(choose(holds, paid, 3), { kept: ['paid early', 'paid late', 'early'], dropped: ['late'] })
  t.same(choose(holds, paid, 1), { kept: ['paid early'], dropped: ['paid late', 'early', 'late'] })
})

t.test('what is too large for the units that are left stands in the way of nobody', async (t) => {
  const holds = [hold('large', 40, 5), hold('small', 10)]
  t.same(choose(holds, ['large'], 4), { kept: ['small'], dropped: ['large'] })
})

/** Of the units of two holds half are gone from PostgreSQL, and Redis is not what it was. */
async function loseHalf(app: App): Promise<void> {
  await app.sql('update products set total = total / 2')
  await app.redis.unlink(app.engine.keys.shard(0, 'epoch'))
  await app.engine.probe()
  await until('an open fence', () => app.engine.fence.isOpen(0))
}

t.test('a paid hold outlives a rebuild that has no units for an earlier one', async (t) => {
  const app = await build(t)
  const id = await app.product(2)
  const [unpaid, paid] = [await app.hold(id), await app.hold(id)]
  t.match(await app.paid(paid.order_id, 'success'), { outcome: 'parked' })
  await loseHalf(app)
  t.match(await app.order(paid), { order_status: 'confirmed', payment_status: 'paid' })
  t.match(await app.call('GET', `/api/holds/${unpaid.hold_id}`), { status: 410 })
  t.match(await app.stock(id), { total: 1, available: 0, held: 0, sold: 1 })
  await app.agree(t, 'afterwards')
})

t.test('control: of two unpaid ones the earlier one does', async (t) => {
  const app = await build(t)
  const id = await app.product(2)
  const [early, late] = [await app.hold(id), await app.hold(id)]
  await loseHalf(app)
  t.match(await app.order(early), { order_status: 'pre-payment' })
  t.match(await app.call('GET', `/api/holds/${late.hold_id}`), { status: 410 })
})
