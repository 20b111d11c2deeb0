import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import pg from 'pg'
import t, { type Test } from 'tap'
import { checkDb, openDb, type Sql } from '../../src/db/client.ts'
import { migrateDb } from '../../src/db/migrate.ts'
import { setUp } from '../../src/db/session.ts'
import { build } from '../fixtures/app.ts'
import { createDatabase, type Database } from '../fixtures/database.ts'
import { NO_PGBOUNCER, openPgBouncer } from '../fixtures/pgbouncer.ts'
import { times, until } from '../fixtures/until.ts'

const BUYERS = 60
const SETTINGS = [
  'enable_seqscan',
  'jit',
  'lock_timeout',
  'statement_timeout',
  'idle_in_transaction_session_timeout',
]
const skip = NO_PGBOUNCER

/** What a client finds that has a server after somebody else. */
async function findLeft(sql: Sql) {
  const { rows } = await sql.query(
    'select name, setting from pg_settings where name = any($1) order by name',
    [SETTINGS],
  )
  return [rows, (await sql.query('select name from pg_prepared_statements')).rows]
}

const locksIn = (database: Database) =>
  database.query(`select from pg_locks join pg_database on oid = database
    where locktype = 'advisory' and datname = current_database()`)

/** Two services behind a PgBouncer of their own. */
async function openServices(t: Test, pool_mode: string) {
  let bouncer: Awaited<ReturnType<typeof openPgBouncer>> | undefined
  const first = await build(t, {
    async database_url(database) {
      bouncer = await openPgBouncer(t, database.url, { pool_mode })
      return bouncer.url
    },
  })
  if (!bouncer) throw new Error('there is no pooler')
  const second = await build(t, { database_url: bouncer.url, beside: first, sweeper: true })
  return { first, second, bouncer }
}

for (const pool_mode of ['session', 'transaction']) {
  t.test(`a sale goes on behind PgBouncer that pools by ${pool_mode}`, { skip }, async (t) => {
    const { first, second, bouncer } = await openServices(t, pool_mode)
    const stranger = await bouncer.connect()
    const before = await findLeft(stranger)
    const product_id = await first.product(BUYERS)
    await times(BUYERS, async (at) => {
      const app = at % 2 ? first : second
      const order = await app.order(await app.hold(product_id))
      if (at % 3 === 0) await app.paid(order.order_id, 'success')
      if (at % 3 === 1) await app.call('DELETE', `/api/orders/${order.order_id}`)
    })
    // Each of the two wants to rebuild the shard, and one of them does.
    await first.redis.del(first.engine.keys.shard(0, 'epoch'))
    await until('an order after a rebuild', async () => {
      const held = await first.call('POST', '/api/holds', { product_id, qty: 1 })
      if (held.status !== 201) return false
      const { hold_id } = (held.body as { data: { hold_id: string } }).data
      return (await second.call('POST', '/api/orders', { hold_id })).status === 201
    })
    await first.agree(t, 'behind the pooler')
    for (const path of ['/readyz', '/api/orders?limit=100', '/api/payments', '/metrics']) {
      t.equal((await first.call('GET', path)).status, 200, path)
    }
    t.same(await findLeft(stranger), before, 'a stranger who gets a server next finds nothing of ours')
    await until('no lock is left', async () => (await locksIn(first.database)).length === 0)
  })

  t.test(
    `an empty database is migrated through PgBouncer that pools by ${pool_mode}`,
    { skip },
    async (t) => {
      const { url, query } = await createDatabase(t, { is_empty: true })
      const bouncer = await openPgBouncer(t, url, { pool_mode })
      await times(4, () => migrateDb(bouncer.url))
      await migrateDb(bouncer.url)
      const { length } = await query('select distinct hash from holdfast_migrations.applied')
      t.equal((await query('select from holdfast_migrations.applied')).length, length, 'each migration once')
      t.same(await query('select * from products'), [])
    },
  )
}

t.test('control: a session behind a pooler of transactions is nobody’s own', { skip }, async (t) => {
  const database = await createDatabase(t)
  const bouncer = await openPgBouncer(t, database.url, { pool_mode: 'transaction', default_pool_size: '1' })
  const [one, other] = [await bouncer.connect(), await bouncer.connect()]
  await one.query('set statement_timeout = 12345')
  await one.query('select pg_advisory_lock(1)')
  await one.query({ name: 'named', text: 'select $1::int', values: [1] })
  const [settings, names] = await findLeft(other)
  t.match(settings, [{}, {}, {}, {}, { name: 'statement_timeout', setting: '12345' }])
  t.match(names, [{ name: 'named' }])
  await one.end()
  t.equal((await locksIn(database)).length, 1, 'a lock outlives the one who took it')
})

t.test('under a lock behind a pooler, transactions have their limits too', { skip }, async (t) => {
  const database = await createDatabase(t)
  const bouncer = await openPgBouncer(t, database.url, { pool_mode: 'transaction' })
  const db = openDb(bouncer.url, { patience_ms: 5_000 })
  t.teardown(() => db.close())
  const timeoutOf = async (sql: Sql) => (await sql.query('show statement_timeout')).rows[0]
  t.match(await db.use(timeoutOf), { statement_timeout: '5s' })
  t.match(await db.transaction(timeoutOf), { statement_timeout: '5s' })
  await db.locked([1], async () => {
    t.equal((await locksIn(database)).length, 1)
    await t.rejects(
      db.transaction((sql) => sql.query('select pg_sleep(10)')),
      { name: 'UnavailableError' },
    )
  })
  await until('the lock is free', async () => (await locksIn(database)).length === 0)
})

t.test(
  'a pooler behind which nothing can work is refused, in one line that says what to do',
  { skip },
  async (t) => {
    const { url } = await createDatabase(t)
    const refusals = async (through: string) => {
      const fail = (error: Error) => error
      return [await migrateDb(through).catch(fail), await checkDb(openDb(through)).catch(fail)]
    }
    const statements = await openPgBouncer(t, url, { pool_mode: 'statement' })
    const wrong_mode = {
      name: 'StartError',
      message:
        /^the pooler of DATABASE_URL pools statements, .+: set its pool_mode to transaction or session$/,
    }
    t.match(await refusals(statements.url), [wrong_mode, wrong_mode])

    const sessions = await openPgBouncer(t, url, { pool_mode: 'session' })
    const wrong_start = {
      name: 'StartError',
      message: /^the pooler of DATABASE_URL does not take the parameter \S+: take it out of DATABASE_URL .+$/,
    }
    const asking = new URL(sessions.url)
    asking.searchParams.set('options', '-c geqo=off')
    t.match(await refusals(asking.href), [wrong_start, wrong_start])
  },
)

t.test('a transaction that a library begins behind a pooler has its limits too', { skip }, async (t) => {
  const database = await createDatabase(t)
  const bouncer = await openPgBouncer(t, database.url, { pool_mode: 'transaction' })
  const client = new pg.Client({ connectionString: bouncer.url })
  await client.connect()
  t.teardown(() => client.end())
  await setUp(client, { lock_timeout: 30_000 })
  await drizzle(client).transaction(async (tx) => {
    t.match((await tx.execute(sql.raw('show lock_timeout'))).rows, [{ lock_timeout: '30s' }])
  })
  t.match((await client.query('show lock_timeout')).rows, [{ lock_timeout: '0' }], 'and nobody else has')
})
