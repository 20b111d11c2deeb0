import t from 'tap'
import { createMark } from '../../src/db/marks.ts'
import type { Entry, Payment } from '../../src/engine/records.ts'
import { createWriter } from '../../src/journal/writer.ts'
import { type App, build, newKey } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'

/*
  Two histories of one order: a Redis that has lost its last steps, a replica that never had them, goes on from where they
  began. Both may have taken the order as many steps.
*/

type Ids = { hold_id: string; order_id: string }
const idOf = ({ hold_id }: Ids) => hold_id.slice('hld_'.length)

async function payUncommitted(app: App, ids: Ids, key: string): Promise<Entry> {
  const stated = { amount: null, currency: null, payment_method: null, transaction_id: null }
  const notice = { idempotency_key: key, order_id: idOf(ids), status: 'success' as const, ...stated }
  const paid = await app.engine.applyPayment(notice, true)
  if (!('entry' in paid)) throw new Error(paid.status)
  return paid.entry
}

const paymentsOf = (app: App, { order_id }: Ids) =>
  app.sql<Pick<Payment, 'outcome'>>('select outcome from payments where order_id = $1', [order_id])
const statusOf = async (app: App, { order_id }: Ids) =>
  (await app.sql<{ order_status: string }>('select order_status from orders where id = $1', [order_id]))[0]
    ?.order_status

/** An unpaid order, and an entry that pays for it in a history that Redis loses before it is committed. */
async function openLost(app: App): Promise<{ ids: Ids; entry: Entry; key: string }> {
  const ids = await app.hold(await app.product(5))
  await app.order(ids)
  const key = newKey()
  const entry = await payUncommitted(app, ids, key)
  return { ids, entry, key }
}

/** Redis loses all, and the shard is open again. */
async function loseRedis(app: App): Promise<void> {
  const keys = await app.keys()
  await app.redis.del(keys)
  app.engine.fence.close(0, 'a test took everything', 'state')
  await until('the rebuild', () => app.engine.fence.isOpen(0))
}

t.test(
  'a commit that is late over a rebuild does not take the step of another history for its own',
  async (t) => {
    const app = await build(t)
    const { ids, entry, key } = await openLost(app)
    await loseRedis(app)
    await app.expect(200, app.call('DELETE', `/api/orders/${ids.order_id}`))
    await t.rejects(app.service.writer.commit(entry), { code: 'recovering' })
    t.same(await paymentsOf(app, ids), [])
    t.match(
      await app.paid(ids.order_id, 'success', {}, key),
      { outcome: 'refund_due' },
      'sent again, it counts',
    )
    await app.agree(t, 'afterwards')
  },
)

t.test('nor does one that did the very same take it so: each of its payments has to be there', async (t) => {
  const app = await build(t)
  const { ids, entry } = await openLost(app)
  await loseRedis(app)
  t.match(await app.paid(ids.order_id, 'success'), { outcome: 'applied' })
  await t.rejects(app.service.writer.commit(entry), { code: 'recovering' })
  t.equal((await paymentsOf(app, ids)).length, 1)
})

t.test('one that somebody else has written is committed, however late', async (t) => {
  const app = await build(t)
  const { entry } = await openLost(app)
  app.engine.fence.close(0, 'a test asks for a rebuild', 'wrong')
  await until('the rebuild', () => app.engine.fence.isOpen(0))
  t.equal(await app.journal(), 0, 'the rebuild has finished the journal')
  t.equal(await app.service.writer.commit(entry), 'committed')
  await app.agree(t, 'afterwards')
})

t.test(
  'a late entry of payments alone, or of a change of stock, is looked for by what it says',
  async (t) => {
    const app = await build(t)
    const product = await app.product(5)
    const ids = await app.hold(product)
    const parked = await payUncommitted(app, ids, newKey())
    const changed = await app.engine.adjustStock(product, 3, newKey(), null)
    if (changed.status !== 'adjusted') throw new Error(changed.status)
    await loseRedis(app)
    await t.rejects(app.service.writer.commit(parked), { code: 'recovering' })
    await t.rejects(app.service.writer.commit(changed.entry), { code: 'recovering' })
    const again = await app.engine.adjustStock(
      product,
      4,
      changed.entry.adjustment?.idempotency_key ?? '',
      null,
    )
    if (again.status !== 'adjusted') throw new Error(again.status)
    await app.service.writer.commit(again.entry)
    await t.rejects(
      app.service.writer.commit(changed.entry),
      { code: 'recovering' },
      'its key has changed another number of units',
    )
    await app.agree(t, 'afterwards')
  },
)

t.test('within one epoch, a step of another history is undone and never acknowledged', async (t) => {
  const app = await build(t)
  const { ids, entry } = await openLost(app)
  // What a replica has that was promoted without the payment, and of which nobody knows yet.
  const order = await app.engine.readOrder(idOf(ids))
  if (!order || !entry.order) throw new Error('no order')
  const cancelled = {
    ...entry,
    entry_id: '',
    payments: [],
    order: {
      ...entry.order,
      ...({ payment_status: 'pending', order_status: 'cancelled', cancel_reason: 'requested' } as const),
      history: `${entry.order.history.split(',')[0]},1-1`,
    },
  }
  t.equal(await app.service.writer.commit(cancelled), 'committed')
  await t.rejects(app.service.writer.commit(entry), { code: 'recovering' })
  t.same(await paymentsOf(app, ids), [], 'no payment without its order')
  await until('the rebuild', () => app.engine.fence.isOpen(0))
  t.equal(await statusOf(app, ids), 'cancelled')
  t.match(await app.readOrder(ids.order_id), { order_status: 'cancelled' })
  await app.agree(t, 'afterwards')
})

t.test('control: taken for the same history, the payment of a cancelled order is acknowledged', async (t) => {
  const app = await build(t)
  const { ids, entry } = await openLost(app)
  if (!entry.order) throw new Error('no order')
  const cancelled = {
    ...entry,
    entry_id: '',
    payments: [],
    order: {
      ...entry.order,
      ...({ payment_status: 'pending', order_status: 'cancelled', cancel_reason: 'requested' } as const),
    },
  }
  await app.service.writer.commit(cancelled)
  t.equal(await app.service.writer.commit(entry), 'committed')
  t.equal(await statusOf(app, ids), 'cancelled')
  t.match(await paymentsOf(app, ids), [{ outcome: 'applied' }])
})

t.test('what becomes of a payment is told only on the order as PostgreSQL has it', async (t) => {
  const app = await build(t)
  const { ids, entry } = await openLost(app)
  const twice = await payUncommitted(app, ids, newKey())
  t.match(twice, { order: null, payments: [{ outcome: 'refund_due' }] })
  if (!entry.order) throw new Error('no order')
  const other = { ...entry.order, history: `${entry.order.history.split(',')[0]},1-1` }
  await app.service.writer.commit({ ...entry, entry_id: '', order: other, payments: [] })
  await t.rejects(
    app.service.writer.commit(twice),
    { code: 'recovering' },
    'it was paid twice in another history',
  )
  t.same(await paymentsOf(app, ids), [])
})

t.test('the order on which it was told is written first, whoever made it', async (t) => {
  const app = await build(t)
  const { ids, entry } = await openLost(app)
  const twice = await payUncommitted(app, ids, newKey())
  t.equal(await app.service.writer.commit(twice), 'committed')
  t.equal(await statusOf(app, ids), 'confirmed')
  t.same((await paymentsOf(app, ids)).map(({ outcome }) => outcome).sort(), ['applied', 'refund_due'])
  t.equal(await app.service.writer.commit(entry), 'committed', 'it may come once more')
  await app.agree(t, 'afterwards')
})

t.test('where that was undone, nothing is told', async (t) => {
  const app = await build(t)
  const { ids, entry } = await openLost(app)
  const twice = await payUncommitted(app, ids, newKey())
  await app.redis.xdel(app.engine.keys.shard(0, 'journal'), entry.entry_id)
  await t.rejects(app.service.writer.commit(twice), { code: 'recovering' })
  t.same(await paymentsOf(app, ids), [])
  await until('the rebuild', () => app.engine.fence.isOpen(0))
  t.equal(await statusOf(app, ids), 'pre-payment', 'no money is due back, and the order is not paid')
  await app.agree(t, 'afterwards')
})

t.test('an entry that was set aside does not take one of its id out of the journal', async (t) => {
  const app = await build(t)
  const { entry } = await openLost(app)
  await app.engine.journal.buryEntry(0, entry.entry_id, 'a test')
  const [buried] = await app.engine.journal.buriedEntries(0, 10)
  if (!buried) throw new Error('nothing is buried')
  // An unwritten order whose entry has by chance the id that the other one got when it was set aside.
  const later = await app.hold(await app.product(1))
  const made = await app.engine.createOrder(idOf(later), null)
  if (made.status !== 'created') throw new Error(made.status)
  const [[, fields = []] = []] = await app.redis.xrange(app.engine.keys.shard(0, 'journal'), '-', '+')
  await app.redis.del(app.engine.keys.shard(0, 'journal'))
  await app.redis.xadd(app.engine.keys.shard(0, 'journal'), buried.dead_id, ...fields)
  t.equal(await app.service.writer.commit(buried.entry), 'committed')
  await app.service.writer.drained()
  t.equal(await app.journal(), 1, 'the order is still in the journal')
  const careless = { ...buried.entry, entry_id: buried.dead_id }
  await app.service.writer.commit(careless)
  await app.service.writer.drained()
  t.equal(await app.journal(), 0, 'control: dropped by the id of the other, it is gone')
})

t.test('entries whose ids lie ahead of the clock are finished by a rebuild and by a sweeper', async (t) => {
  for (const sweeper of [false, true]) {
    const app = await build(t, { sweeper })
    const journal = app.engine.keys.shard(0, 'journal')
    const ahead = await app.redis.xadd(journal, `${Date.now() + 600_000}-0`, 'order', '')
    await app.redis.xdel(journal, ahead ?? '')
    const ids = await app.hold(await app.product(1))
    const made = await app.engine.createOrder(idOf(ids), null)
    t.match(made, { status: 'created' })
    const until_now = await app.redis.xrange(journal, '-', Date.now())
    t.same(until_now, [], 'control: read up to the clock, there is nothing')
    if (!sweeper) app.engine.fence.close(0, 'a test asks for a rebuild', 'wrong')
    await until('the order', async () => (await statusOf(app, ids)) === 'pre-payment')
    await app.agree(t, 'afterwards')
  }
})

t.test('writers count their commits, each for itself', async (t) => {
  const app = await build(t)
  const mark = createMark(newKey())
  const { db } = app.service
  const writer = createWriter({ db, engine: app.engine, mark, on_alarm: () => {} })
  for (const commits of [1, 2, 3]) {
    const made = await app.engine.createOrder(idOf(await app.hold(await app.product(1))), null)
    if (made.status !== 'created') throw new Error(made.status)
    await writer.commit(made.entry)
    t.equal(mark.commits, commits)
  }
  await writer.drained()
  t.match(await app.sql('select commits from writers where writer = $1', [mark.writer]), [{ commits: 3 }])
  t.equal(await app.redis.hget(app.engine.keys.shard(0, 'commits'), mark.writer), '3')
})
