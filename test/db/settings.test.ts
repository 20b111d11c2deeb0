import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import pg from 'pg'
import t, { type Test } from 'tap'
import { checkDb, openDb } from '../../src/db/client.ts'
import { openOwnPostgres } from '../faults/fixtures/own-postgres.ts'
import { testRedisUrl } from '../fixtures/connect.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const { database } = await openOwnPostgres(t)
const { query } = database

/** What the check of a start says of a database; undefined when nothing is wrong. */
async function refusal(url = database.url): Promise<string | undefined> {
  const db = openDb(url)
  try {
    await checkDb(db)
    await db.close()
    return undefined
  } catch (error) {
    if ((error as Error).name !== 'StartError') throw error
    return (error as Error).message
  }
}

/** The database of the same server with another name. */
const named = (name: string) => {
  const url = new URL(database.url)
  url.pathname = `/${name}`
  return url.href
}

/** A session of the whole server sees a setting only some time after the reload that brings it. */
async function setOn(t: Test, name: string, value: string): Promise<void> {
  await query(`alter system set ${name} = ${value}`)
  await query('select pg_reload_conf()')
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  const shown = async () => (await client.query(`show ${name}`)).rows[0][name]
  while ((await shown()) !== value) await client.query('select pg_sleep(0.01)')
  await client.end()
  t.equal(await query(`show ${name}`).then(([row]) => (row as Record<string, string>)[name]), value)
}

t.test('a PostgreSQL that may lose what it has committed is refused', async (t) => {
  t.equal(await refusal(), undefined, 'control: as it comes it is taken')
  for (const name of ['fsync', 'full_page_writes', 'synchronous_commit']) {
    await setOn(t, name, 'off')
    t.equal(
      await refusal(),
      `PostgreSQL has ${name} off and may lose what it has committed when it crashes: set it to on`,
    )
    await setOn(t, name, 'on')
    t.equal(await refusal(), undefined)
  }
})

t.test('what counts is how the sessions of the service commit', async (t) => {
  for (const value of ['local', 'remote_write', 'remote_apply', 'on', 'off']) {
    await query(`alter database holdfast set synchronous_commit = ${value}`)
    const said = await refusal()
    if (value === 'off') t.match(said, /^PostgreSQL has synchronous_commit off/)
    else t.equal(said, undefined, value)
  }
  await query('alter database holdfast reset synchronous_commit')
})

t.test('a database that can not keep every text is refused', async (t) => {
  for (const encoding of ['SQL_ASCII', 'LATIN1']) {
    const name = encoding.toLowerCase()
    await query(
      `create database ${name} encoding '${encoding}' locale_provider libc locale 'C' template template0`,
    )
    t.equal(
      await refusal(named(name)),
      `the database has the encoding ${encoding} and can not keep every text: name one with the encoding UTF8 in DATABASE_URL`,
    )
  }
  await query(`create database again encoding 'UTF8' locale_provider libc locale 'C' template template0`)
  t.equal(await refusal(named('again')), undefined, 'control: made in the same way, with the encoding UTF8')
})

t.test('a PostgreSQL that takes no writes is refused', async (t) => {
  await query('alter database holdfast set default_transaction_read_only = on')
  t.match(await refusal(), /^PostgreSQL is read-only: name a server that takes writes in DATABASE_URL/)
  await query('alter database holdfast reset default_transaction_read_only')
  t.equal(await refusal(), undefined)
})

t.test('the start ends with that line and nothing else', async (t) => {
  await query('alter database holdfast set synchronous_commit = off')
  const env = {
    PATH: process.env.PATH,
    REDIS_URL: testRedisUrl(),
    DATABASE_URL: database.url,
    PORT: '0',
    LOG_LEVEL: 'silent',
  }
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/bin/server.ts'], { cwd: ROOT, env })
  t.teardown(() => child.kill('SIGKILL'))
  let said = ''
  child.stderr.on('data', (chunk) => {
    said += chunk
  })
  const [code] = await once(child, 'close')
  t.equal(code, 1)
  t.match(said, /^holdfast: PostgreSQL has synchronous_commit off .*: set it to on\n$/)
  await query('alter database holdfast reset synchronous_commit')
})
