import t from 'tap'
import { notice, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

const REASON = 'products_floor: "too many" | 漢字'

t.test('an entry is not set aside with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.order(1)
  const [[entry_id = ''] = []] = await f.redis.xrange(f.keys.shard(0, 'journal'), '-', '+')
  await refusedByFence(t, f, (engine) => engine.journal.buryEntry(0, entry_id, REASON))
})

t.test('an entry that the journal does not have is left alone', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.order(1)
  await unchanged(t, f, () => f.engine.journal.buryEntry(0, '1-1', REASON))
})

t.test('an entry is set aside whole, once, and with the reason; the others stay', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  await f.engine.applyPayment(notice(id, 'p1', 'success'), false)
  const made = await f.engine.createOrder(id, null)
  const adjusted = await f.engine.adjustStock(1, 5, 'k', 'more')
  if (!('entry' in made && 'entry' in adjusted)) throw new Error('not made')
  const { entry_id } = made.entry
  t.same(await f.run('bury-entry', 0, { args: { entry_id, reason: REASON } }), ['buried'])
  t.equal(await f.engine.journal.readEntry(0, entry_id), undefined)
  t.same(await f.engine.journal.readEntry(0, adjusted.entry.entry_id), adjusted.entry)
  t.equal(await f.engine.journal.length(0), 2)
  t.equal(await f.engine.journal.buriedLength(0), 1)
  const [buried] = await f.engine.journal.buriedEntries(0, 10)
  t.same(buried?.entry, { ...made.entry, entry_id: '' })
  const [[, fields = []] = []] = await f.redis.xrange(f.keys.shard(0, 'dead'), '-', '+')
  t.same(fields.slice(-4), ['entry_id', entry_id, 'reason', REASON])

  const again = await unchanged(t, f, () => f.run('bury-entry', 0, { args: { entry_id, reason: REASON } }))
  t.same(again, ['unknown_entry'])
  await f.engine.journal.dropBuried(0, buried?.dead_id ?? '')
  t.equal(await f.engine.journal.buriedLength(0), 0)
})

t.test('of many that set one entry aside at once, one does', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.order(1)
  const [[entry_id = ''] = []] = await f.redis.xrange(f.keys.shard(0, 'journal'), '-', '+')
  const engines = Array.from({ length: 3 }, () => f.open({ own_connection: true }))
  await Promise.all(
    Array.from({ length: 30 }, (_, at) => engines[at % 3]?.journal.buryEntry(0, entry_id, REASON)),
  )
  t.equal(await f.engine.journal.buriedLength(0), 1)
  t.equal(await f.engine.journal.length(0), 0)
})
