import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import { beginWith, hangUp } from './session.ts'

const CONNECT_TIMEOUT_MS = 5_000
/** Each try costs PostgreSQL some 100 µs. The first come soon: most locks are given back within milliseconds. */
const RETRY_MIN_MS = 5
const RETRY_MAX_MS = 100
/** Most locks come free sooner, and nobody needs to know. */
const TELL_AFTER_MS = 1_000
/**
 * A holder that has said nothing for so long is dead, or has stood still: PostgreSQL ends its session, and with it its locks. Its
 * machine may have lost power without a word, which TCP alone would notice after hours.
 */
export const SILENCE_LIMIT_MS = 8_000
const SIGN_OF_LIFE_EVERY_MS = 2_000
const SETTINGS = {
  idle_in_transaction_session_timeout: SILENCE_LIMIT_MS,
  statement_timeout: SILENCE_LIMIT_MS,
}

/** Somebody else had a lock for longer than one waits for it. */
export class LockedError extends Error {
  override name = 'LockedError'
  /** The session of PostgreSQL that has it, where that is still there. */
  readonly holder: Holder | undefined

  constructor(wait_ms: number, holder: Holder | undefined) {
    super(`another process has had the lock for ${wait_ms / 1000} s`)
    this.holder = holder
  }
}

/** `from` is an address, or what a socket is called here. */
export type Holder = { pid: number; from: string }

/** Who has an advisory lock. */
async function findHolder(sql: pg.Client, lock: number): Promise<Holder | undefined> {
  const { rows } = await sql.query<Holder>(
    `select pid, coalesce(host(client_addr), 'this machine') as from from pg_locks join pg_stat_activity using (pid)
      where locktype = 'advisory' and granted and pg_locks.database = (select oid from pg_database where datname = current_database())
        and ((classid::bigint << 32) | objid::bigint) = $1 and objsubid = 1`,
    [lock],
  )
  return rows[0]
}

/** Takes the locks, all or none, in the transaction that is begun here. Returns the one that somebody else has. */
async function tryLocks(sql: pg.Client, locks: number[]): Promise<number | undefined> {
  await beginWith(sql, SETTINGS)
  for (const lock of locks) {
    const { rows } = await sql.query('select pg_try_advisory_xact_lock($1) as is_ours', [lock])
    if (!rows[0].is_ours) return lock
  }
  return undefined
}

type Hears = {
  /** Hears each time that somebody else has a lock. */
  on_busy?: () => void
  /** Hears once who has the lock, where one has to wait for long. */
  on_wait?: (holder: Holder | undefined) => void
}

async function takeLocks(
  sql: pg.Client,
  locks: number[],
  wait_ms: number,
  { on_busy, on_wait }: Hears,
): Promise<void> {
  const started_ms = performance.now()
  let is_told = false
  for (;;) {
    const taken = await tryLocks(sql, locks)
    if (taken === undefined) return
    on_busy?.()
    const waited_ms = performance.now() - started_ms
    const is_over = waited_ms >= wait_ms
    const is_long: boolean = !is_told && waited_ms >= TELL_AFTER_MS
    const holder = is_over || is_long ? await findHolder(sql, taken) : undefined
    // Nobody waits in a transaction: behind a pooler it would keep a server from those who have the lock.
    await sql.query('rollback')
    if (is_over) throw new LockedError(wait_ms, holder)
    if (is_long) on_wait?.(holder)
    is_told ||= is_long
    await wait(Math.min(RETRY_MAX_MS, RETRY_MIN_MS + waited_ms / 4))
  }
}

/**
 * Runs `work` under advisory locks. They belong to a transaction that stays open meanwhile, on a connection that does nothing else:
 * so they hold behind a pooler too, which lends servers for one transaction, and end with the process, within 8 s where it stands still.
 * `lost` aborts when the locks are gone before the work is done. Rejects with LockedError where they do not come free in time.
 */
export async function withLocks<Result>(
  options: {
    database_url: string
    locks: number[]
    wait_ms: number
    connect_timeout_ms?: number
  } & Hears,
  work: (lost: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const { database_url, locks, wait_ms, connect_timeout_ms = CONNECT_TIMEOUT_MS } = options
  const sql = new pg.Client({
    connectionString: database_url,
    connectionTimeoutMillis: connect_timeout_ms,
    query_timeout: SILENCE_LIMIT_MS,
    application_name: 'holdfast lock',
  })
  const lost = new AbortController()
  sql.on('error', () => {})
  sql.on('end', () => lost.abort(new Error('the lock was lost')))
  let living: NodeJS.Timeout | undefined
  try {
    await sql.connect()
    await takeLocks(sql, locks, wait_ms, options)
    living = setInterval(
      () => sql.query('select 1').catch((error) => lost.abort(error)),
      SIGN_OF_LIFE_EVERY_MS,
    )
    return await work(lost.signal)
  } finally {
    clearInterval(living)
    await hangUp(sql)
  }
}
