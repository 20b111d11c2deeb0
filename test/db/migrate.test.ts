import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'
import t, { type Test } from 'tap'
import { migrateDb } from '../../src/db/migrate.ts'
import { ensureProduct } from '../../src/db/seed.ts'
import { createDatabase, type Database } from '../fixtures/database.ts'
import { times } from '../fixtures/until.ts'

const MIGRATIONS = fileURLToPath(new URL('../../drizzle', import.meta.url))

t.test(
  'processes that start at once on an empty database bring it to the newest schema together',
  async (t) => {
    const { url, query } = await createDatabase(t, { is_empty: true })
    await times(4, () => migrateDb(url))
    await migrateDb(url)
    const applied = await query('select hash from holdfast_migrations.applied')
    t.equal(new Set(applied.map((one) => JSON.stringify(one))).size, applied.length, 'each migration once')
    t.same(await query('select * from products'), [])
  },
)

/** Migrates as version 0.1 did, or another program that uses drizzle as it comes. */
async function migrateShared(url: string, migrationsFolder: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  await migrate(drizzle(pool), { migrationsFolder })
  await pool.end()
}

type Entry = { idx: number; when: number; tag: string }

/** A folder with the first of our migrations. */
async function copyFirst(t: Test, count: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-migrations-'))
  t.teardown(() => rm(folder, { recursive: true }))
  await cp(MIGRATIONS, folder, { recursive: true })
  const journal_path = join(folder, 'meta', '_journal.json')
  const journal = JSON.parse(await readFile(journal_path, 'utf8')) as { entries: Entry[] }
  await writeFile(journal_path, JSON.stringify({ ...journal, entries: journal.entries.slice(0, count) }))
  return folder
}

/** The folder of a stranger, whose only migration is later than all of ours. */
async function writeStranger(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-stranger-'))
  t.teardown(() => rm(folder, { recursive: true }))
  await mkdir(join(folder, 'meta'))
  const entries = [{ idx: 0, version: '7', when: Date.now() + 86_400_000_000, tag: '0000_strange' }]
  await writeFile(join(folder, 'meta', '_journal.json'), JSON.stringify({ dialect: 'postgresql', entries }))
  await writeFile(join(folder, '0000_strange.sql'), 'create table strange (id int)')
  return folder
}

/** The columns of all tables that are ours. */
const schemaOf = (query: Database['query']) =>
  query(`select table_name, column_name, data_type from information_schema.columns
    where table_schema = 'public' and table_name <> 'strange' order by 1, 2`)

t.test('an installation goes on from where it was, whoever else migrates in its database', async (t) => {
  const fresh = await createDatabase(t)
  const newest = await schemaOf(fresh.query)
  const all = (await fresh.query('select from holdfast_migrations.applied')).length
  t.ok(all >= 9)
  for (const [when, prepare] of Object.entries({
    'fresh, beside a stranger': async (url: string) => migrateShared(url, await writeStranger(t)),
    'of version 0.1': async (url: string) => migrateShared(url, MIGRATIONS),
    'of an earlier version': async (url: string) => migrateShared(url, await copyFirst(t, 6)),
    'of an earlier version, beside a stranger': async (url: string, query: Database['query']) => {
      await migrateShared(url, await copyFirst(t, 6))
      await migrateShared(url, await writeStranger(t))
      const before = await schemaOf(query)
      await migrateShared(url, MIGRATIONS)
      t.same(
        await schemaOf(query),
        before,
        "control: in the shared table all that is older than a stranger's is skipped",
      )
    },
  })) {
    const { url, query } = await createDatabase(t, { is_empty: true })
    await prepare(url, query)
    const shared = await query('select * from drizzle.__drizzle_migrations')
    await times(4, () => migrateDb(url))
    await migrateDb(url)
    t.same(await schemaOf(query), newest, when)
    t.equal((await query('select distinct hash from holdfast_migrations.applied')).length, all, when)
    t.equal((await query('select from holdfast_migrations.applied')).length, all, `${when}: each once`)
    t.same(await query('select * from drizzle.__drizzle_migrations'), shared, 'the shared table is as it was')
  }
})

t.test('who waits for another process says so, and gives up in time', async (t) => {
  const { url, query } = await createDatabase(t)
  const holder = new pg.Client({ connectionString: url })
  await holder.connect()
  t.teardown(() => holder.end())
  // As version 0.1 locked it.
  await holder.query('select pg_advisory_lock(4863100001)')
  const { rows } = await holder.query('select pg_backend_pid() as pid')
  const session = `session ${rows[0].pid} of PostgreSQL, from 127\\.0\\.0\\.1,`
  const notes: string[] = []
  await t.rejects(migrateDb(url, { note: (detail) => notes.push(detail), wait_ms: 1_500 }), {
    name: 'StartError',
    message: new RegExp(
      `^${session} has been migrating .* pg_terminate_backend\\(${rows[0].pid}\\), then start again$`,
    ),
  })
  t.match(notes, [new RegExp(`^${session} is at it$`)])

  const waiting = migrateDb(url, { note: () => void holder.query('select pg_advisory_unlock_all()') })
  await t.resolves(waiting, 'and goes on once the other has done')
  t.same(
    await query(
      `select from pg_locks join pg_database on oid = database where locktype = 'advisory' and datname = current_database()`,
    ),
    [],
  )
})

t.test('items of orders that are there already get the moment at which their orders were made', async (t) => {
  const { url, query } = await createDatabase(t, { is_empty: true })
  await migrateShared(url, await copyFirst(t, 2))
  await query(
    `insert into products (id, name, unit_amount, currency, total, shard) values (1, 'Sock', 1, 'USD', 5, 0)`,
  )
  await query(
    `insert into orders (id, hold_id, shard, version, payment_status, order_status, amount, currency, created_at, pay_by,
       hold_created_at, hold_expires_at)
     values ('ord_1', 'hld_1', 0, 1, 'paid', 'confirmed', 2, 'USD', '2026-01-31T12:00:00.123Z', now(), now(), now())`,
  )
  await query(`insert into order_items (order_id, product_id, qty, unit_amount) values ('ord_1', 1, 2, 1)`)
  await migrateDb(url)
  t.match(await query('select created_at from order_items'), [
    { created_at: new Date('2026-01-31T12:00:00.123Z') },
  ])
  t.match(await query('select committed, shelf, terms_version, loaded_version from products'), [
    { committed: 2, shelf: null, terms_version: 1, loaded_version: 1 },
  ])
})

t.test('the seed makes product 1 with 100 units where there is none, once', async (t) => {
  const { url, query } = await createDatabase(t)
  t.same((await times(4, () => ensureProduct(url, 1))).toSorted(), [false, false, false, true])
  t.equal(await ensureProduct(url, 1), false)
  t.match(await query('select id, total, shard from products'), [{ id: 1, total: 100, shard: 0 }])
  const next = await query<{ id: number }>(
    `insert into products (name, unit_amount, currency, total, shard) values ('Sock', 1, 'USD', 1, 0) returning id`,
  )
  t.equal(next[0]?.id, 2, 'the next product gets the next id')
})

t.test('the seed leaves a database alone that has products', async (t) => {
  const { url, query } = await createDatabase(t)
  await query(
    `insert into products (id, name, unit_amount, currency, total, shard) values (7, 'Sock', 1, 'USD', 1, 0)`,
  )
  t.equal(await ensureProduct(url, 1), false)
  t.same(await query('select id from products'), [{ id: 7 }])
})

t.test('a database that is not there is named in one line', async (t) => {
  const { url } = await createDatabase(t)
  const wrong = (change: (at: URL) => void) => {
    const at = new URL(url)
    change(at)
    return at.href
  }
  for (const bad of [
    wrong((at) => {
      at.pathname = '/no_such_database'
    }),
    wrong((at) => {
      at.port = '1'
    }),
    wrong((at) => {
      at.password = 'wrong'
    }),
  ]) {
    const refused = {
      name: 'StartError',
      message: /^PostgreSQL can not be migrated \(.+\): correct DATABASE_URL or the database$/,
    }
    const error = await migrateDb(bad).catch((one: Error) => one)
    t.match(error, refused)
    t.notMatch((error as Error).message, new RegExp(new URL(url).password), 'without its password')
  }
})

t.test('the seed waits for nobody where there is a product', async (t) => {
  const { url, query } = await createDatabase(t)
  await ensureProduct(url, 1)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  await client.query('begin')
  await client.query('select 1 from products for no key update')
  t.equal(await ensureProduct(url, 1), false)
  t.match(await query('select count(*)::int as count from products'), [{ count: 1 }])
  await client.query('rollback')
})
