import t, { type Test } from 'tap'
import { redriveBuried } from '../../src/journal/recovery.ts'
import { verifyShard } from '../../src/recovery/verify.ts'
import { type App, build } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'

const UNREADABLE = [
  ['order', 'nonsense', 'payments', ''],
  ['order', '', 'payments', '[{'],
  ['adjustment', '{'],
  ['basis', 'nonsense', 'payments', ''],
]

/** Puts what nobody can read into the journal, before and behind an order that nobody has committed. */
async function spoil(app: App): Promise<string> {
  const journal = app.engine.keys.shard(0, 'journal')
  const hold = await app.hold(await app.product(1))
  for (const fields of UNREADABLE.slice(0, 2)) await app.redis.xadd(journal, '*', ...fields)
  await app.engine.createOrder(hold.hold_id.slice(4), null)
  for (const fields of UNREADABLE.slice(2)) await app.redis.xadd(journal, '*', ...fields)
  return hold.order_id
}

const isWritten = async (app: App, order_id: string) =>
  (await app.sql('select from orders where id = $1', [order_id])).length === 1

async function isSetAside(t: Test, app: App, order_id: string): Promise<void> {
  await until('the order is written', () => isWritten(app, order_id))
  await until('the journal is empty', async () => (await app.journal()) === 0)
  t.equal(await app.engine.journal.buriedLength(0), UNREADABLE.length)
  const said = app.log.filter((line) =>
    /^journal entry \S+ of shard 0 can not be read and was set aside: see npm run verify$/.test(line),
  )
  t.equal(said.length, UNREADABLE.length, 'each is said once')
  const { differences, is_clean } = await verifyShard(app.engine, app.service.db, 0, () => Promise.resolve())
  t.notOk(is_clean)
  t.same(differences, [
    `${UNREADABLE.length} journal entries were set aside because PostgreSQL refused them or they can not be read`,
  ])
}

t.test('journal entries that can not be read are set aside, and hold up no others', async (t) => {
  const app = await build(t, { sweeper: true })
  await isSetAside(t, app, await spoil(app))
  const { written, refused } = await redriveBuried(app.engine, app.service.writer, 0)
  t.equal(written, 0)
  t.same(
    refused,
    Array(UNREADABLE.length).fill('it can not be read'),
    'a repair says that they are still there',
  )
  t.ok(app.engine.fence.isOpen(0))
})

t.test('a shard with journal entries that can not be read opens', async (t) => {
  const app = await build(t)
  const order_id = await spoil(app)
  app.engine.fence.close(0, 'a test says so', 'wrong')
  await until('it is open', () => app.engine.fence.isOpen(0))
  await isSetAside(t, app, order_id)
})

t.test('a request that finds its journal entry unreadable is told 503, not that it is written', async (t) => {
  const app = await build(t)
  await spoil(app)
  const [found] = await app.redis.xrange(app.engine.keys.shard(0, 'journal'), '-', '+')
  await t.rejects(app.service.writer.finish(0, found?.[0] ?? ''), { code: 'unavailable' })
})
