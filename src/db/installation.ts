import { StartError } from '../errors.ts'
import type { Sql } from './client.ts'

/** Which installation this database is, as 32 hex digits. Throws StartError where the row is gone that says so. */
export async function findInstallation(sql: Sql): Promise<string> {
  const { rows } = await sql.query<{ id: string }>('select id from installation')
  if (!rows[0])
    throw new StartError('the table installation is empty: restore its row, its Redis knows no other')
  return rows[0].id.replaceAll('-', '')
}
