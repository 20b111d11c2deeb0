import t from 'tap'
import { openDb } from '../../src/db/client.ts'
import { withLocks } from '../../src/db/lock.ts'
import { createDatabase } from '../fixtures/database.ts'
import { openWay } from '../fixtures/outage.ts'
import { until } from '../fixtures/until.ts'

const LOCKS = [2, 1]
const database = await createDatabase(t)
const under = (database_url: string, locks = LOCKS) => ({ database_url, locks, wait_ms: 60_000 })

t.test('locks are taken by one at a time, all or none', async (t) => {
  const events: string[] = []
  await withLocks(under(database.url), async () => {
    await t.rejects(
      withLocks({ ...under(database.url, [0, 2]), wait_ms: 200 }, async () => events.push('never')),
      { name: 'LockedError', holder: { pid: Number, from: String } },
    )
    await withLocks(under(database.url, [0]), async () => events.push('another lock'))
  })
  await withLocks(under(database.url), async () => events.push('the next one'))
  t.same(events, ['another lock', 'the next one'])
})

t.test('a holder that stands still loses its locks, and hears of it', async (t) => {
  const way = await openWay(t, database.url)
  let hearsLoss = () => {}
  const heard = new Promise<void>((resolve) => {
    hearsLoss = resolve
  })
  let is_held = false
  const holding = withLocks(under(way.url), async (lost) => {
    lost.addEventListener('abort', hearsLoss)
    is_held = true
    await heard
  })
  await until('the lock', () => is_held)
  // Nothing says so: the connection stays.
  way.stall()
  await t.resolves(
    withLocks(under(database.url), async () => {}),
    'somebody else gets them',
  )
  await holding
})

t.test('work under a lock ends also where nobody is there any more to say good-bye to', async (t) => {
  const way = await openWay(t, database.url)
  const db = openDb(way.url)
  t.equal(
    await db.locked([3], async (sql) => {
      await sql.query('select 1')
      way.stall()
      return 'done'
    }),
    'done',
  )
})
