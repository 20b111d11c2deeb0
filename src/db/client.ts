import pg from 'pg'
import { StartError, UnavailableError } from '../errors.ts'
import { LockedError, SILENCE_LIMIT_MS, withLocks } from './lock.ts'
import { begin, explainPooler, hangUp, isLent, READ_ONLY, setUp } from './session.ts'

/** A caller waits no longer for PostgreSQL; a batch takes some 10 ms, so this is a server that is away or stuck. */
const PATIENCE_MS = 900
/** A lock that does not come free ends its statement before the statement's own end. */
const LOCK_SHARE = 0.8
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000
/** One writes, the others read; a process that has the database for itself needs no more. */
export const MAX_CONNECTIONS = 8
/** Whoever waits for a lock asks again after this. */
const ADVISORY_LOCK_WAIT_MS = 15_000
/**
 * A connection keeps the plan of what it has prepared, also when the table has grown since: one that goes through the whole
 * table, the cheapest while that is small, would make every batch of a sale dearer than the one before. Where there is no index
 * for it a plan goes through the table all the same, as a small one; before version 18 it looks so dear then that PostgreSQL compiles it,
 * which takes 100 ms.
 */
const PLANS = { enable_seqscan: 'off', jit: 'off' }
/** One statement of a rebuild that takes longer than this comes from a server that stands still. */
const LOCKED_QUERY_TIMEOUT_MS = 30_000
const LOCKED_SETTINGS = {
  statement_timeout: LOCKED_QUERY_TIMEOUT_MS,
  lock_timeout: LOCKED_QUERY_TIMEOUT_MS * LOCK_SHARE,
  idle_in_transaction_session_timeout: SILENCE_LIMIT_MS,
  ...PLANS,
}
const MAX_TRIES = 3
/** Serialization failure, deadlock: nothing was done, the same again may succeed. */
const RETRY_CODES = ['40001', '40P01']
/** Classes of errors that blame the data; all others blame the server, the schema or the way to it. */
const OWN_FAULT = /^(22|23|P0)/
/**
 * Behind these errors the connection is as good as before: data, a serialization failure, a lock or a statement that took too
 * long. Any other may blame the connection itself, or the role of the server behind it, and would come again for ever.
 */
const KEEPS_CONNECTION = /^(22|23|P0|40|55P03$|57014$)/
/** Without them what was committed may be gone after a crash. */
const DURABLE_SETTINGS = ['fsync', 'full_page_writes', 'synchronous_commit'] as const

export type Db = ReturnType<typeof openDb>
/** A connection, in a transaction or not. */
export type Sql = pg.ClientBase

// Counts, amounts and times in ms stay below 2^53, as the tables' checks see to.
pg.types.setTypeParser(pg.types.builtins.INT8, Number)
pg.types.setTypeParser(pg.types.builtins.NUMERIC, Number)

const codeOf = (error: unknown): string => (error as { code?: string } | undefined)?.code ?? ''

/** Whether an error blames the data, so that sending it again would not help. */
export const isOwnFault = (error: unknown): boolean => OWN_FAULT.test(codeOf(error))

/** Whether a call was rejected because PostgreSQL takes no writes. */
export const isReadOnly = (error: unknown): boolean => codeOf((error as Error).cause) === READ_ONLY

/**
 * Waits for statements that were sent together. Throws what the first of them to fail says; those behind it say only that
 * their transaction is over, and may be heard sooner.
 */
export async function inOrder(statements: Array<Promise<unknown>>): Promise<void> {
  const failed = (await Promise.allSettled(statements)).find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}

/** Runs `work` in one transaction of a connection that the caller has for himself. */
export async function inTransaction(sql: Sql, work: () => Promise<unknown>): Promise<void> {
  await begin(sql)
  try {
    await work()
    await sql.query('commit')
  } catch (error) {
    await sql.query('rollback')
    throw error
  }
}

/** A pool of connections whose every call ends after `patience_ms` at the latest. */
export function openDb(
  database_url: string,
  {
    max_connections = MAX_CONNECTIONS,
    patience_ms = PATIENCE_MS,
    on_sql,
  }: {
    max_connections?: number | undefined
    patience_ms?: number | undefined
    /** Hears how long each call took, failed ones too. */
    on_sql?: (what: 'query' | 'transaction', seconds: number) => void
  } = {},
) {
  const settings = {
    statement_timeout: patience_ms,
    lock_timeout: Math.ceil(patience_ms * LOCK_SHARE),
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    ...PLANS,
  }
  const pool = new pg.Pool({
    connectionString: database_url,
    max: max_connections,
    connectionTimeoutMillis: patience_ms,
    query_timeout: patience_ms,
    application_name: 'holdfast',
    // Statements that do not wait for each other's answers are sent together and taken in their order.
    pipeline: true,
  })
  // An idle connection that breaks is replaced when the next one is needed.
  pool.on('error', () => {})
  // The pool listens to idle connections only. One that breaks in use fails its next query; unheard, its error would end
  // the process.
  pool.on('connect', (client) => client.on('error', () => {}))
  const ready = new WeakSet<Sql>()

  /** A new connection may lead to a standby, which has not heard the latest: nothing is read there either. */
  async function makeReady(sql: Sql): Promise<void> {
    if (ready.has(sql)) return
    await setUp(sql, settings)
    ready.add(sql)
  }

  async function attempt<Result>(work: (sql: Sql) => Promise<Result>, transaction: boolean): Promise<Result> {
    const sql = await pool.connect()
    let broken = true
    try {
      await makeReady(sql)
      const is_transaction = transaction || isLent(sql)
      if (is_transaction) await begin(sql)
      const result = await work(sql)
      if (is_transaction) await sql.query('commit')
      broken = false
      return result
    } catch (error) {
      // A connection is kept only after the server itself has said no; one that timed out may be in the middle of a reply.
      if (KEEPS_CONNECTION.test(codeOf(error))) {
        broken = await sql.query('rollback').then(
          () => false,
          () => true,
        )
      }
      throw error
    } finally {
      sql.release(broken)
    }
  }

  async function bounded<Result>(work: (sql: Sql) => Promise<Result>, transaction: boolean): Promise<Result> {
    for (let tries = 1; ; tries += 1) {
      const asked_ms = performance.now()
      try {
        return await attempt(work, transaction)
      } catch (error) {
        if (tries < MAX_TRIES && RETRY_CODES.includes(codeOf(error))) continue
        if (isOwnFault(error)) throw error
        throw new UnavailableError('unavailable', `PostgreSQL: ${(error as Error).message}`, { cause: error })
      } finally {
        on_sql?.(transaction ? 'transaction' : 'query', (performance.now() - asked_ms) / 1000)
      }
    }
  }

  return {
    pool,
    /** Runs `work` on one connection. Rejects with UnavailableError when PostgreSQL is away or too slow. */
    use: <Result>(work: (sql: Sql) => Promise<Result>) => bounded(work, false),
    /** The same in one transaction, tried again after a serialization failure or a deadlock. */
    transaction: <Result>(work: (sql: Sql) => Promise<Result>) => bounded(work, true),
    /**
     * Runs `work` under advisory locks, on a connection of its own. Each of its statements may take half a minute.
     * Rejects with UnavailableError where a lock does not come free: then it is to be tried again. `on_wait` hears of it before.
     */
    async locked<Result>(
      locks: number[],
      work: (sql: Sql) => Promise<Result>,
      on_wait?: () => void,
    ): Promise<Result> {
      const under = { database_url, locks, wait_ms: ADVISORY_LOCK_WAIT_MS, connect_timeout_ms: patience_ms }
      function connect() {
        const client = new pg.Client({
          connectionString: database_url,
          connectionTimeoutMillis: patience_ms,
          application_name: 'holdfast rebuild',
          query_timeout: LOCKED_QUERY_TIMEOUT_MS,
          // What does not wait for another answer is sent together: whoever opens a shard asks a lot.
          pipeline: true,
        })
        client.on('error', () => {})
        const ready = client.connect().then(() => setUp(client, LOCKED_SETTINGS))
        ready.catch(() => {})
        return { client, ready }
      }
      // Both connections at once: a shard is closed meanwhile. Who has to wait for the locks keeps but one.
      let own: ReturnType<typeof connect> | undefined = connect()
      const on_busy = () => {
        if (own) void hangUp(own.client)
        own = undefined
      }
      try {
        return await withLocks({ ...under, on_busy, ...(on_wait && { on_wait }) }, async (lost) => {
          own ??= connect()
          const { client, ready } = own
          lost.addEventListener('abort', () => hangUp(client))
          await ready
          lost.throwIfAborted()
          return await work(client)
        })
      } catch (error) {
        if (!(error instanceof LockedError)) throw error
        throw new UnavailableError('unavailable', error.message, { cause: error })
      } finally {
        if (own) await hangUp(own.client)
      }
    },
    close: () => pool.end(),
  }
}

/**
 * Refuses a PostgreSQL that does not answer or takes no writes, that loses what it has committed, or that can not keep every
 * text. Throws StartError.
 */
export async function checkDb(db: Db): Promise<void> {
  const settings = await db.use(readSettings).catch((error: Error) => error)
  const fault = settings instanceof Error ? faultOfServer(settings) : faultOfSettings(settings)
  if (fault === undefined) return
  await db.close()
  throw new StartError(fault)
}

type Settings = Record<(typeof DURABLE_SETTINGS)[number] | 'server_encoding', string>

async function readSettings(sql: Sql): Promise<Settings> {
  const names = [...DURABLE_SETTINGS, 'server_encoding']
  const { rows } = await sql.query(
    `select ${names.map((name) => `current_setting('${name}') as ${name}`).join(', ')}`,
  )
  return rows[0]
}

const faultOfServer = (error: Error): string =>
  isReadOnly(error)
    ? 'PostgreSQL is read-only: name a server that takes writes in DATABASE_URL, or set default_transaction_read_only to off'
    : (explainPooler(error) ??
      `PostgreSQL does not answer (${error.message}): start it or correct DATABASE_URL`)

function faultOfSettings(settings: Settings): string | undefined {
  const off = DURABLE_SETTINGS.find((name) => settings[name] === 'off')
  if (off) return `PostgreSQL has ${off} off and may lose what it has committed when it crashes: set it to on`
  const { server_encoding } = settings
  if (server_encoding === 'UTF8') return undefined
  return `the database has the encoding ${server_encoding} and can not keep every text: name one with the encoding UTF8 in DATABASE_URL`
}
