import t from 'tap'
import { createMark, goneWriters, marksAhead } from '../../src/db/marks.ts'
import { findAhead } from '../../src/journal/past.ts'
import { createWatch } from '../../src/recovery/watch.ts'
import { type App, build } from '../fixtures/app.ts'

const env = { STOCK_SHARDS: '2' }
const GONE = ['a writer', 'a watch', 'b admin']
const QUIET = ['c writer', 'c watch']
const COMMITS = 7

/** Writers whose processes have been gone for long, and one that lives and has written nothing for as long. */
async function remember(app: App): Promise<void> {
  for (const writer of [...GONE, ...QUIET]) {
    const days = writer === 'c watch' ? 0 : 31
    await app.sql(
      `insert into writers (writer, commits, seen_at) values ($1, $2, now() - make_interval(days => $3))
        on conflict (writer) do update set seen_at = excluded.seen_at`,
      [writer, COMMITS, days],
    )
    for (const shard of [0, 1]) await app.redis.hset(commits(app, shard), writer, COMMITS)
  }
}
const commits = (app: App, shard: number) => app.engine.keys.shard(shard, 'commits')

const inRedis = async (app: App, shard: number) =>
  (await app.redis.hkeys(commits(app, shard))).filter((name) => [...GONE, ...QUIET].includes(name)).toSorted()
const inPostgres = async (app: App) =>
  (await app.sql<{ writer: string }>(`select writer from writers where writer ~ '^[abc] ' order by 1`)).map(
    ({ writer }) => writer,
  )

/** What forgets, for a service, on its parts or on some that were tampered with. */
function watchOf(app: App, tampered: Partial<Parameters<typeof createWatch>[0]> = {}) {
  const marks = { writer: createMark('x writer'), watch: createMark('x watch'), admin: createMark('x admin') }
  return createWatch({
    engine: app.engine,
    db: app.service.db,
    marks,
    identityOf: () => undefined,
    ...tampered,
  })
}
const aheadOf = (app: App) =>
  app.service.db.use((sql) => findAhead(sql, [], () => app.engine.remembered.marks(1)))

t.test('a start forgets the marks of processes that have been gone for long, on both sides', async (t) => {
  const app = await build(t, { env })
  await remember(app)
  const next = await build(t, { env, beside: app })
  t.same(await inPostgres(app), QUIET.toSorted())
  for (const shard of [0, 1]) t.same(await inRedis(app, shard), QUIET.toSorted())
  t.same(await aheadOf(next), [])
})

t.test(
  'what broke off is done by the next one, and nobody takes PostgreSQL for one from the past',
  async (t) => {
    const app = await build(t, { env })
    await remember(app)
    const { remembered } = app.engine
    const forgetMarks: typeof remembered.forgetMarks = async (shard, writers) => {
      if (shard === 1) throw new Error('Redis is away')
      return remembered.forgetMarks(shard, writers)
    }
    const engine = { ...app.engine, remembered: { ...remembered, forgetMarks } }
    await t.rejects(watchOf(app, { engine }).forgetGone(), /away/)
    t.same(
      await inPostgres(app),
      [...GONE, ...QUIET].toSorted(),
      'PostgreSQL forgets none that a Redis may remember',
    )
    t.same(await aheadOf(app), [])

    const { db } = app.service
    let calls = 0
    const use: typeof db.use = (work) => {
      calls += 1
      return calls === 1 ? db.use(work) : Promise.reject(new Error('PostgreSQL is away'))
    }
    await t.rejects(watchOf(app, { db: { ...db, use } }).forgetGone(), /away/)
    for (const shard of [0, 1]) t.same(await inRedis(app, shard), QUIET.toSorted(), 'every Redis has')
    t.same(await aheadOf(app), [])

    await watchOf(app).forgetGone()
    t.same(await inPostgres(app), QUIET.toSorted())
    t.same(await aheadOf(app), [])
    await watchOf(app).forgetGone()
    t.same(await app.service.db.use(goneWriters), [], 'there is nothing more to forget')
  },
)

t.test('control: forgotten by PostgreSQL alone, they are commits that it lacks', async (t) => {
  const app = await build(t, { env })
  await remember(app)
  await app.service.recovery.close()
  await app.sql('delete from writers where writer = any($1::text[])', [GONE])
  t.same((await aheadOf(app)).map(({ writer }) => writer).toSorted(), GONE.toSorted())
})

t.test('whoever looks while they are forgotten is not alarmed', async (t) => {
  const app = await build(t, { env })
  await remember(app)
  const recall = async () => {
    const marks = await app.engine.remembered.marks(1)
    await watchOf(app).forgetGone()
    return marks
  }
  t.same(await app.service.db.use((sql) => findAhead(sql, [], recall)), [])
  t.same(await inPostgres(app), QUIET.toSorted())

  await remember(app)
  const marks = await recall()
  const ahead = await app.service.db.use((sql) => marksAhead(sql, marks))
  t.same(ahead.map(({ writer }) => writer).toSorted(), GONE.toSorted(), 'control: with one look he is')
})
