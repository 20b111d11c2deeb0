import { fileURLToPath } from 'node:url'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'
import { StartError } from '../errors.ts'
import { inTransaction } from './client.ts'
import { type Holder, LockedError, withLocks } from './lock.ts'
import { explainPooler, setUp } from './session.ts'

/**
 * Where it is noted which migrations were applied: a table that no other program has, since drizzle skips whatever is older than the
 * last row. The schema is not named `holdfast`: for a user of that name it would come before `public`, where the tables are.
 */
const JOURNAL = {
  migrationsFolder: fileURLToPath(new URL('../../drizzle', import.meta.url)),
  migrationsSchema: 'holdfast_migrations',
  migrationsTable: 'applied',
}
/** Where version 0.1 noted it, together with every program that uses drizzle as it comes. */
const SHARED = { schema: 'drizzle', table: '__drizzle_migrations' }
/** Any number that nothing else locks: instances that start together migrate one after the other. */
const MIGRATION_LOCK = 4_863_100_001
/** Longer than most migrations take; whoever starts processes starts this one again. */
const LOCK_WAIT_MS = 60_000
const CONNECT_TIMEOUT_MS = 5_000
/** A migrator whose machine has died is in the middle of a transaction, and idle: PostgreSQL ends it, and frees the tables. */
const SETTINGS = { idle_in_transaction_session_timeout: 10_000, lock_timeout: 30_000 }

/** Takes over what the shared table says of our own migrations, once; it stays there too, for whoever goes back. */
async function takeOver(sql: pg.Client): Promise<void> {
  const { migrationsSchema, migrationsTable } = JOURNAL
  const { rows } = await sql.query(
    `select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where (n.nspname, c.relname) in (($1, $2), ($3, $4))
        and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')`,
    [migrationsSchema, migrationsTable, SHARED.schema, SHARED.table],
  )
  const found = rows.map(({ nspname }) => nspname)
  if (found.includes(migrationsSchema) || !found.includes(SHARED.schema)) return
  const own = readMigrationFiles(JOURNAL)
  await inTransaction(sql, async () => {
    await sql.query(`create schema if not exists ${migrationsSchema}`)
    await sql.query(
      `create table ${migrationsSchema}.${migrationsTable} (id serial primary key, hash text not null, created_at bigint)`,
    )
    await sql.query(
      `insert into ${migrationsSchema}.${migrationsTable} (hash, created_at)
        select hash, created_at from unnest($1::text[], $2::bigint[]) as own (hash, created_at)
          where exists (select from ${SHARED.schema}.${SHARED.table} as known
            where known.hash = own.hash or known.created_at = own.created_at)
          order by created_at`,
      [own.map(({ hash }) => hash), own.map(({ folderMillis }) => folderMillis)],
    )
  })
}

async function migrateLocked(database_url: string, lost: AbortSignal): Promise<void> {
  const client = new pg.Client({
    connectionString: database_url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'holdfast migration',
  })
  client.on('error', () => {})
  lost.addEventListener('abort', () => client.end().catch(() => {}))
  try {
    await client.connect()
    await setUp(client, SETTINGS)
    lost.throwIfAborted()
    await takeOver(client)
    await migrate(drizzle(client), JOURNAL)
  } finally {
    await client.end().catch(() => {})
  }
}

const named = (holder: Holder | undefined) =>
  holder ? `session ${holder.pid} of PostgreSQL, from ${holder.from},` : 'another process'

function explain(error: unknown): string {
  if (error instanceof LockedError) {
    const { holder } = error
    const end = holder && `, or end it with select pg_terminate_backend(${holder.pid})`
    return `${named(holder)} has been migrating the database for long: wait until it is done${end ?? ''}, then start again`
  }
  const { cause, message } = error as Error
  const reason = cause instanceof Error ? cause : (error as Error)
  const what = reason.message || (reason as { code?: string }).code || message
  return (
    explainPooler(reason) ?? `PostgreSQL can not be migrated (${what}): correct DATABASE_URL or the database`
  )
}

/**
 * Brings the database to the newest schema. Instances that start together wait for each other; `note` hears for whom.
 * Throws StartError.
 */
export async function migrateDb(
  database_url: string,
  { note, wait_ms = LOCK_WAIT_MS }: { note?: (detail: string) => void; wait_ms?: number } = {},
): Promise<void> {
  const locks = [MIGRATION_LOCK]
  const on_wait = (holder: Holder | undefined) => note?.(`${named(holder)} is at it`)
  try {
    await withLocks({ database_url, locks, wait_ms, on_wait }, (lost) => migrateLocked(database_url, lost))
  } catch (error) {
    throw new StartError(explain(error))
  }
}
