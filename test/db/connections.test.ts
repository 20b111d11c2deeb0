import pg from 'pg'
import t, { type Test } from 'tap'
import { isReadOnly, openDb, type Sql } from '../../src/db/client.ts'
import { createDatabase } from '../fixtures/database.ts'

const READ_ONLY = { code: '25006' }
const database = await createDatabase(t)

function open(t: Test) {
  const db = openDb(database.url, { max_connections: 1 })
  t.teardown(() => db.close())
  return db
}

async function connect(t: Test, url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  return client
}

/** A change that is taken where nothing is read-only. */
const write = (sql: Sql) =>
  sql.query('insert into shards (shard, epoch, redis_identity) values (0, 0, $1) on conflict do nothing', [
    '',
  ])
const processOf = async (sql: Sql) => (await sql.query('select pg_backend_pid() as pid')).rows[0].pid
const raise = (code: string) => (sql: Sql) =>
  sql.query(`do $$ begin raise exception 'because' using errcode = '${code}'; end $$`)

t.test('an error that may blame the connection ends it, and one that does not keeps it', async (t) => {
  const db = open(t)
  const cases = [
    ...['22003', '23505', 'P0001', '40001', '40P01', '55P03', '57014'].map((code) => ({
      code,
      is_kept: true,
    })),
    ...['25006', '57P01', '57P05', '08006', '08P01', '0A000', '26000', '42P01', '53100', 'XX000'].map(
      (code) => ({
        code,
        is_kept: false,
      }),
    ),
  ]
  for (const { code, is_kept } of cases) {
    for (const call of [db.use, db.transaction]) {
      const before = await db.use(processOf)
      await t.rejects(call(raise(code)), code)
      t.equal((await db.use(processOf)) === before, is_kept, `${code} ${is_kept ? 'keeps' : 'ends'} it`)
    }
  }
})

t.test('what failed for another transaction is tried three times, and no more', async (t) => {
  const db = open(t)
  for (const code of ['40001', '40P01']) {
    let tries = 0
    const always = (sql: Sql) => {
      tries += 1
      return raise(code)(sql)
    }
    await t.rejects(db.transaction(always), { name: 'UnavailableError', code: 'unavailable' })
    t.equal(tries, 3, code)
  }
})

t.test('a connection that turned read-only fails one write', async (t) => {
  const db = open(t)
  const turn = (sql: Sql) => sql.query('set default_transaction_read_only = on')
  await db.use(turn)
  const error = await db.transaction(write).catch((one) => one)
  t.match(error, { name: 'UnavailableError', code: 'unavailable' })
  t.ok(isReadOnly(error))
  await t.resolves(db.transaction(write))

  const kept = await connect(t, database.url)
  await turn(kept)
  await t.rejects(write(kept), READ_ONLY)
  await kept.query('rollback')
  await t.rejects(write(kept), READ_ONLY, 'control: one that is kept after its error goes on to refuse')
})

t.test('nothing is read or locked on a new connection that would take no write', async (t) => {
  const db = open(t)
  const { pathname } = new URL(database.url)
  const elsewhere = new URL(database.url)
  elsewhere.pathname = '/postgres'
  const owner = await connect(t, elsewhere.href)
  await owner.query(`alter database ${pathname.slice(1)} set default_transaction_read_only = on`)
  const kept = await connect(t, database.url)
  for (const call of [db.use, db.transaction, (work: typeof processOf) => db.locked([1], work)]) {
    let is_asked = false
    const refused = call((sql) => {
      is_asked = true
      return processOf(sql)
    })
    await t.rejects(refused)
    t.notOk(is_asked)
  }
  t.ok(isReadOnly(await db.use(processOf).catch((error) => error)))

  await owner.query(`alter database ${pathname.slice(1)} reset default_transaction_read_only`)
  await t.resolves(db.transaction(write), 'the next connection takes one')
  await t.resolves(db.locked([1], write))
  await t.rejects(write(kept), READ_ONLY, 'control: one of before does not')
})
