import { spawn } from 'node:child_process'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import t, { type Test } from 'tap'
import { openDb } from '../../src/db/client.ts'
import { createDatabase } from '../fixtures/database.ts'
import { until } from '../fixtures/until.ts'

// They wait for most of their time.
t.jobs = 4
t.setTimeout(120_000)

const HOLDER = fileURLToPath(new URL('fixtures/hold-lock.ts', import.meta.url))
/** How long the promise is that nobody who stands still keeps a lock, and how long anybody waits for one at all. */
const SILENT_MS = 8_000
const GIVES_UP_MS = 15_000
const database = await createDatabase(t)

function open(t: Test) {
  const db = openDb(database.url)
  t.teardown(() => db.close())
  return db
}

/** Another process that has the lock. */
async function openHolder(t: Test, lock: number) {
  const child = spawn(process.execPath, ['--import', 'tsx', HOLDER, database.url, String(lock)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  let said = ''
  child.stdout.on('data', (data) => {
    said += data
  })
  const says = (word: string) => until(`it says ${word}`, () => said.includes(word))
  await says('locked')
  return { child, says }
}

t.test('a process that stands still loses its lock, and learns of it when it goes on', async (t) => {
  const { child, says } = await openHolder(t, 1)
  child.kill('SIGSTOP')
  let is_told = false
  await open(t).locked(
    [1],
    async () => {},
    () => {
      is_told = true
    },
  )
  t.ok(is_told, 'who waited for it was told')
  child.kill('SIGCONT')
  await says('lost')
})

t.test(
  'control: a session that PostgreSQL does not watch keeps its lock, and who waits gives up in time',
  async (t) => {
    const client = new pg.Client({ connectionString: database.url })
    await client.connect()
    t.teardown(() => client.end())
    await client.query('select pg_advisory_lock(2)')
    const started_ms = performance.now()
    let told = 0
    const waiting = open(t).locked(
      [2],
      async () => {},
      () => {
        told += 1
      },
    )
    await t.rejects(waiting, { code: 'unavailable', message: /another process has had the lock for 15 s/ })
    t.ok(performance.now() - started_ms >= GIVES_UP_MS - 100)
    t.equal(told, 1)
  },
)

t.test('a process that is busy elsewhere keeps its lock', async (t) => {
  await open(t).locked([3], async (sql) => {
    await wait(SILENT_MS + 2_000)
    const { rows } = await sql.query(
      "select 1 from pg_locks where locktype = 'advisory' and objid = 3 and granted",
    )
    t.equal(rows.length, 1)
  })
})

t.test(
  'two that want the same locks do not wait for each other, and one after the other gets them',
  async (t) => {
    const db = open(t)
    let inside = 0
    const take = (locks: number[]) =>
      db.locked(locks, async () => {
        inside += 1
        t.equal(inside, 1, 'it is alone')
        await wait(50)
        inside -= 1
      })
    await Promise.all(Array.from({ length: 10 }, (_, at) => take(at % 2 ? [4, 5] : [5, 4])))
  },
)
