import type { Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type pg from 'pg'

/** Settings of PostgreSQL by their names; times are in ms. */
export type Settings = Record<string, string | number>

/** What PostgreSQL answers to a write that it does not take. */
export const READ_ONLY = '25006'
const SHOW_READ_ONLY = 'show transaction_read_only'

/** A server says good-bye within milliseconds; a machine that is gone never does. */
const GOODBYE_MS = 1_000

/** Ends a connection, whether or not anybody is there to hear it. */
export async function hangUp(sql: pg.Client): Promise<void> {
  await Promise.race([sql.end().catch(() => {}), wait(GOODBYE_MS, undefined, { ref: false })])
  ;(sql as unknown as { connection: { stream: Socket } }).connection.stream.destroy()
}

/** Connections whose server is lent to them for one transaction at a time, with what each of those is set to. */
const lent = new WeakMap<pg.ClientBase, Settings>()

const setAll = (scope: 'session' | 'local', settings: Settings): string =>
  Object.entries(settings)
    .map(([name, value]) => `set ${scope} ${name} = ${value}`)
    .join('; ')

function refuse({ rows }: pg.QueryResult): void {
  if (rows[0]?.transaction_read_only === 'off') return
  throw Object.assign(new Error('it is read-only'), { code: READ_ONLY })
}

/** Rejects, with the code of a refused write, where this connection would not take one: on a standby, or by a setting. */
export async function refuseReadOnly(sql: pg.ClientBase): Promise<void> {
  refuse(await sql.query(SHOW_READ_ONLY))
}

/** Begins a transaction with settings of its own. Rejects where it could not write. */
export async function beginWith(sql: pg.ClientBase, settings: Settings): Promise<void> {
  const results = await sql.query(`begin; ${setAll('local', settings)}; ${SHOW_READ_ONLY}`)
  refuse((results as unknown as pg.QueryResult[]).at(-1) as pg.QueryResult)
}

const isBegin = (config: unknown): boolean =>
  /^begin$/i.test(typeof config === 'string' ? config : ((config as pg.QueryConfig).text ?? ''))

/**
 * What is prepared under a name stays with the server, and the next transaction may get another one. One that a library begins has the
 * settings too.
 */
function lend(sql: pg.ClientBase, settings: Settings): void {
  const query = sql.query.bind(sql) as (config: unknown, ...others: unknown[]) => unknown
  const unnamed = (config: unknown, ...others: unknown[]) => {
    if (isBegin(config)) return query(`begin; ${setAll('local', settings)}`, ...others)
    return query(
      typeof config === 'string' ? config : { ...(config as pg.QueryConfig), name: undefined },
      ...others,
    )
  }
  sql.query = unnamed as typeof sql.query
  lent.set(sql, settings)
}

/** Whether the server is this connection's own. A pooler gives its clients numbers of processes that are none. */
async function isOwn(sql: pg.ClientBase): Promise<boolean> {
  const { rows } = await sql.query('select pg_backend_pid() as pid')
  return rows[0]?.pid === (sql as unknown as { processID: number | null }).processID
}

/**
 * Gives a new connection its settings. They are not part of its start, since a pooler refuses that. Behind a pooler they hold for
 * each transaction by itself, because there is nothing else that its clients have to themselves. Rejects where the server takes no writes.
 */
export async function setUp(sql: pg.ClientBase, settings: Settings): Promise<void> {
  if (await isOwn(sql)) {
    await sql.query(setAll('session', settings))
    await refuseReadOnly(sql)
  } else {
    lend(sql, settings)
  }
}

/** Whether a connection has its settings within transactions only. */
export const isLent = (sql: pg.ClientBase): boolean => lent.has(sql)

/** Begins a transaction on a connection that was set up. */
export async function begin(sql: pg.ClientBase): Promise<void> {
  const settings = lent.get(sql)
  await (settings ? beginWith(sql, settings) : sql.query('begin'))
}

/** What to do about an error of a pooler that comes again for ever. Undefined for any other. */
export function explainPooler({ message }: Error): string | undefined {
  const [, parameter] = /unsupported startup parameter(?: in options)?: (\S+)/.exec(message) ?? []
  if (parameter !== undefined) {
    return `the pooler of DATABASE_URL does not take the parameter ${parameter}: take it out of DATABASE_URL and PGOPTIONS, or add it to ignore_startup_parameters of PgBouncer`
  }
  if (!/statement pooling mode/.test(message)) return undefined
  return 'the pooler of DATABASE_URL pools statements, and nothing works without transactions: set its pool_mode to transaction or session'
}
