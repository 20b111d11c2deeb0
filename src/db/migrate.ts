import { fileURLToPath } from 'node:url'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'
import { StartError } from '../errors.ts'

const MIGRATIONS_DIR = fileURLToPath(new URL('../../drizzle', import.meta.url))
/** Any number that nothing else locks: instances that start together migrate one after the other. */
const MIGRATION_LOCK = 4_863_100_001
const CONNECT_TIMEOUT_MS = 5_000

/** Brings the database to the newest schema. Instances that start together wait for each other. Throws StartError. */
export async function migrateDb(database_url: string): Promise<void> {
  const client = new pg.Client({
    connectionString: database_url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK])
    await migrate(drizzle(client), { migrationsFolder: MIGRATIONS_DIR })
  } catch (error) {
    const cause =
      (error as Error).cause instanceof Error ? ((error as Error).cause as Error) : (error as Error)
    throw new StartError(
      `PostgreSQL can not be migrated (${cause.message || (cause as { code?: string }).code}): correct DATABASE_URL or the database`,
    )
  } finally {
    await client.end().catch(() => {})
  }
}
