import pg from 'pg'
import { UnavailableError } from '../errors.ts'
import { codeOf, refuseReadOnly } from './read-only.ts'

/**
 * PostgreSQL ends a session that has sent nothing for so long, and its locks come free: its process has lost power or its network, or
 * stands still, and TCP alone would keep it for hours.
 */
const MAX_SILENCE_MS = 6_000
/** A holder that lives says so, however long it is busy elsewhere. */
const BEAT_EVERY_MS = 1_500
/** Most locks come free sooner, and nobody needs to know. */
const SAY_AFTER_MS = 1_000
/** A holder that died is gone long before this. */
const MAX_WAIT_MS = 15_000
const LOCK_NOT_AVAILABLE = '55P03'

/** The same for what was sent to a holder that can not take it any more. */
const SESSION_SETTINGS = {
  idle_session_timeout: MAX_SILENCE_MS,
  idle_in_transaction_session_timeout: MAX_SILENCE_MS,
  tcp_user_timeout: MAX_SILENCE_MS,
  tcp_keepalives_idle: 2,
  tcp_keepalives_interval: 1,
  tcp_keepalives_count: 4,
  // As the pool plans: no statement may go through all of history.
  enable_seqscan: 'off',
}

async function setAll(sql: pg.ClientBase, settings: Record<string, number | string>): Promise<void> {
  const names = Object.keys(settings)
  const calls = names.map((name, at) => `set_config('${name}', $${at + 1}, false)`)
  await sql.query(
    `select ${calls.join(', ')}`,
    names.map((name) => String(settings[name])),
  )
}

/** Takes a lock. Rejects with UnavailableError where it does not come free in time. */
async function lock(sql: pg.ClientBase, number: number, on_wait: () => void): Promise<void> {
  for (const [wait_ms, after] of [
    [SAY_AFTER_MS, on_wait],
    [MAX_WAIT_MS - SAY_AFTER_MS, () => {}],
  ] as const) {
    try {
      await Promise.all([
        setAll(sql, { lock_timeout: wait_ms }),
        sql.query('select pg_advisory_lock($1)', [number]),
      ])
      return
    } catch (error) {
      if (codeOf(error) !== LOCK_NOT_AVAILABLE) throw error
      after()
    }
  }
  throw new UnavailableError(
    'unavailable',
    `another process has had it in hand for ${MAX_WAIT_MS / 1000} s and does not end`,
  )
}

/**
 * Runs `work` under advisory locks, on a connection of its own. The locks come free when it is done, and within seconds when its
 * process is gone or stands still, whose next statement then fails. Rejects with UnavailableError where a lock does not come
 * free: then it is to be tried again.
 */
export async function withLocks<Result>(
  options: {
    database_url: string
    /** How long the connection may take. */
    patience_ms: number
    /** How long a statement may take; one that takes longer comes from a server that stands still. */
    query_timeout_ms: number
    /** Hears that somebody else has a lock. */
    on_wait: () => void
  },
  locks: number[],
  work: (sql: pg.ClientBase) => Promise<Result>,
): Promise<Result> {
  const { database_url, patience_ms, query_timeout_ms, on_wait } = options
  const client = new pg.Client({
    connectionString: database_url,
    connectionTimeoutMillis: patience_ms,
    application_name: 'holdfast lock',
    keepAlive: true,
    // What does not wait for another answer is sent together: whoever opens a shard asks a lot.
    pipeline: true,
    statement_timeout: query_timeout_ms,
    query_timeout: query_timeout_ms,
  })
  client.on('error', () => {})
  let beat: NodeJS.Timeout | undefined
  try {
    await client.connect()
    await Promise.all([refuseReadOnly(client), setAll(client, SESSION_SETTINGS)])
    beat = setInterval(() => void client.query('select 1').catch(() => {}), BEAT_EVERY_MS)
    // In one order, so that two who want the same do not wait for each other.
    for (const number of locks.toSorted((one, other) => one - other)) await lock(client, number, on_wait)
    return await work(client)
  } finally {
    clearInterval(beat)
    await client.end().catch(() => {})
  }
}
