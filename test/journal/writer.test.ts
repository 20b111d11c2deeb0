import t from 'tap'
import { type Entry, makeEntry, type Order } from '../../src/engine/records.ts'
import { type App, build, newKey } from '../fixtures/app.ts'
import { later, orderOf } from '../fixtures/orders.ts'
import { times, until } from '../fixtures/until.ts'

const app = await build(t)
const { engine, service } = app
const { writer } = service
const idOf = ({ hold_id }: { hold_id: string }) => hold_id.slice('hld_'.length)

/** A step up to its journal entry, as a process leaves it that dies before the commit. */
async function create(hold: { hold_id: string }, on: App = app): Promise<Entry> {
  const result = await on.engine.createOrder(idOf(hold), null)
  if (result.status !== 'created') throw new Error(result.status)
  return result.entry
}
async function pay(hold: { hold_id: string }, status: 'success' | 'failed', key = newKey()): Promise<Entry> {
  const stated = { amount: null, currency: null, payment_method: null, transaction_id: null }
  const result = await engine.applyPayment(
    { idempotency_key: key, order_id: idOf(hold), status, ...stated },
    true,
  )
  if (!('entry' in result)) throw new Error(result.status)
  return result.entry
}

type Row = { version: number; payment_status: string; order_status: string; cancel_reason: string | null }
const row = async (hold: { order_id: string }) =>
  (
    await app.sql<Row>(
      "select cardinality(string_to_array(history, ',')) as version, payment_status, order_status, cancel_reason from orders where id = $1",
      [hold.order_id],
    )
  )[0]
const committed = async (id: number) =>
  (await app.sql<{ committed: number }>('select committed from products where id = $1', [id]))[0]?.committed

/** Every order in which these can come. */
function permutations<Thing>(things: Thing[]): Thing[][] {
  if (things.length < 2) return [things]
  return things.flatMap((one, at) => permutations(things.toSpliced(at, 1)).map((rest) => [one, ...rest]))
}

t.test('an entry whose process died is finished by a sweeper', async (t) => {
  const swept = await build(t, { sweeper: true })
  const id = await swept.product(10)
  const hold = await swept.hold(id, 2)
  await create(hold, swept)
  const inPostgres = () => swept.sql('select 1 from orders where id = $1', [hold.order_id])
  t.same(await inPostgres(), [])
  await until('the commit', async () => (await inPostgres()).length === 1)
  await swept.agree(t, 'afterwards')
})

t.test('and by any request that asks for the same thing again', async (t) => {
  const id = await app.product(10)
  const hold = await app.hold(id)
  await create(hold)
  await pay(hold, 'success')
  t.match(await app.call('DELETE', `/api/orders/${hold.order_id}`), { status: 409 })
  const key = newKey()
  await pay(hold, 'success', key)
  t.equal((await app.sql('select 1 from payments where idempotency_key = $1', [key])).length, 0)
  t.match(await app.paid(hold.order_id, 'success', {}, key), {
    outcome: 'duplicate',
    first_outcome: 'refund_due',
  })
  t.equal((await app.sql('select 1 from payments where idempotency_key = $1', [key])).length, 1)
  for (const entry of await engine.journal.entries(0, 100)) await writer.commit(entry)
})

t.test('an entry that is committed twice has one effect', async (t) => {
  const id = await app.product(10)
  const hold = await app.hold(id, 3)
  const entry = await create(hold)
  for (let count = 0; count < 3; count += 1) t.equal(await writer.commit(entry), 'committed')
  await times(20, () => writer.commit(entry))
  t.equal(await committed(id), 3)
  const cancel = await pay(hold, 'failed')
  for (let count = 0; count < 3; count += 1) await writer.commit(cancel)
  await writer.commit(entry)
  t.match(await row(hold), { version: 2, order_status: 'cancelled' })
  t.equal(await committed(id), 0)
  await app.agree(t, 'in the end')
})

t.test('entries of one order end right in whatever order they are committed', async (t) => {
  const id = await app.product(100)
  const wanted = { version: 3, payment_status: 'paid', order_status: 'confirmed', cancel_reason: null }
  for (const sequence of permutations([0, 1, 2])) {
    const hold = await app.hold(id, 2)
    const entries = [await create(hold), await pay(hold, 'failed'), await pay(hold, 'success')]
    for (const at of sequence) await writer.commit(entries[at] as Entry)
    t.same(await row(hold), wanted, `one by one: ${sequence}`)
  }
  for (const sequence of permutations([0, 1, 2])) {
    const hold = await app.hold(id, 2)
    const entries = [await create(hold), await pay(hold, 'failed'), await pay(hold, 'success')]
    await Promise.all(sequence.map((at) => writer.commit(entries[at] as Entry)))
    t.same(await row(hold), wanted, `in one batch: ${sequence}`)
  }
  t.equal(await committed(id), 24)
  await app.agree(t, 'in the end')
})

t.test(
  'a payment that is parked and settled ends settled, in whatever order its entries are committed',
  async (t) => {
    const id = await app.product(100)
    for (const sequence of permutations([0, 1])) {
      for (const at_once of [true, false]) {
        const hold = await app.hold(id)
        const key = newKey()
        const entries = [await pay(hold, 'success', key), await create(hold)] as const
        const commits = sequence.map((at) => () => writer.commit(entries[at] as Entry))
        if (at_once) await Promise.all(commits.map((commit) => commit()))
        else for (const commit of commits) await commit()
        t.match(
          await app.sql('select outcome, first_outcome from payments where idempotency_key = $1', [key]),
          [{ outcome: 'applied', first_outcome: 'parked' }],
          `${sequence}, ${at_once ? 'at once' : 'one by one'}`,
        )
        t.match(await row(hold), { payment_status: 'paid' })
      }
    }
    await app.agree(t, 'in the end')
  },
)

t.test('two processes that finish one journal at once leave it as one does', async (t) => {
  const beside = await build(t, { beside: app })
  const id = await app.product(100)
  for (let round = 0; round < 3; round += 1) {
    await times(20, async (at) => {
      const hold = await app.hold(id)
      await create(hold)
      if (at % 2 === 0) await pay(hold, at % 4 === 0 ? 'success' : 'failed')
    })
    const entries = await until('all entries', async () => {
      const found = await engine.journal.entries(0, 100)
      return found.length === 30 && found
    })
    await Promise.all(
      [app, beside].flatMap((one) => entries.map((entry) => one.service.writer.commit(entry))),
    )
    await app.agree(t, 'afterwards')
  }
  t.equal(await committed(id), 45)
})

t.test(
  'an entry that PostgreSQL refuses fails none of its neighbours, and is set aside after some tries',
  async (t) => {
    const id = await app.product(100)
    const gone = await app.product(100)
    const bad_hold = await app.hold(gone)
    const good_holds = await times(10, () => app.hold(id))
    await app.sql('delete from products where id = $1', [gone])
    const bad = await create(bad_hold)
    const good = await Promise.all(good_holds.map((hold) => create(hold)))
    const entries = [...good.slice(0, 5), bad, ...good.slice(5)]
    const answers = await Promise.allSettled(entries.map((entry) => writer.commit(entry)))
    t.same(
      answers.map(({ status }) => status === 'fulfilled'),
      entries.map((entry) => entry !== bad),
    )
    t.match(answers[5], { reason: { code: 'unavailable' } })
    await until('the others to be dropped', async () => (await app.journal()) === 1)

    for (let tries = 0; (await app.journal()) === 1; tries += 1) {
      if (tries > 20) throw new Error('it is tried for ever')
      await writer.commit(bad).catch(() => {})
    }
    t.equal(await engine.journal.buriedLength(0), 1)
    t.ok(
      app.log.some((line) => line.includes(bad.entry_id)),
      'and the log says so',
    )
    await app.redis.hdel(engine.keys.shard(0, 'products'), `${gone}:total`)
    await app.agree(t, 'on all that can be sold')
  },
)

t.test(
  'an entry of an earlier epoch that Redis has lost is not written, though the shard is open again',
  async (t) => {
    const own = await build(t)
    const product = await own.product(5)
    const hold = await own.hold(product)
    const entry = await create(hold, own)
    await own.redis.unlink(...(await own.keys()))
    await until('the loss is noticed', async () => {
      await own.engine.probe()
      return own.engine.fence.lastEpoch(0) !== entry.epoch && own.engine.fence.isOpen(0)
    })
    const write = () => own.service.writer.commit(entry)
    await t.rejects(write(), { code: 'recovering' })
    t.same(await own.sql('select 1 from orders'), [], 'its units count nowhere, so neither does the order')
    await own.agree(t, 'at the end')
    const believed = { ...entry, epoch: own.engine.fence.lastEpoch(0) }
    t.equal(await own.service.writer.commit(believed), 'committed', 'control: its epoch alone keeps it out')
  },
)

t.test('two processes whose batches name the same products never stand in each other’s way', async (t) => {
  const beside = await build(t, { beside: app })
  const ids: number[] = []
  for (let count = 0; count < 6; count += 1) ids.push(await app.product(1_000_000))
  const entryOf = (order: Order): Entry =>
    makeEntry({ shard: 0, entry_id: '0-1', epoch: app.engine.fence.lastEpoch(0) }, { order })
  const failures: string[] = []
  await Promise.all(
    [app, beside].map(async ({ service }, side) => {
      // Each batch cancels what the one before has made and makes new orders: rows are locked for both.
      const backwards = side === 1
      const own = backwards ? ids.toReversed() : ids
      let before: Order[] = []
      for (let round = 0; round < 40; round += 1) {
        const made = own.map((id) => orderOf([[id, 1]])).filter((_, at) => (at + round) % 2 === 0)
        const cart = orderOf(own.map((id) => [id, 1]))
        const orders = [...before.map((order) => later(order, 'failed')), cart, ...made]
        const answers = await Promise.allSettled(orders.map((order) => service.writer.commit(entryOf(order))))
        for (const answer of answers) if (answer.status === 'rejected') failures.push(String(answer.reason))
        before = made
      }
    }),
  )
  t.same([...new Set(failures)], [])
  const counts = await Promise.all(ids.map(committed))
  t.equal(
    counts.reduce<number>((sum, count) => sum + (count ?? 0), 0),
    2 * 40 * 6 + 2 * 3,
  )
})
