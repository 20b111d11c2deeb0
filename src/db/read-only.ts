import type pg from 'pg'

const READ_ONLY = '25006'

/** The SQLSTATE of what PostgreSQL said, '' where it said nothing. */
export const codeOf = (error: unknown): string => (error as { code?: string } | undefined)?.code ?? ''

/** Whether a call was rejected because PostgreSQL takes no writes. */
export const isReadOnly = (error: unknown): boolean => codeOf((error as Error).cause) === READ_ONLY

/** Rejects, with the code of a refused write, where this connection would not take one: on a standby, or by a setting. */
export async function refuseReadOnly(sql: pg.ClientBase): Promise<void> {
  const { rows } = await sql.query<{ transaction_read_only: string }>('show transaction_read_only')
  if (rows[0]?.transaction_read_only === 'off') return
  throw Object.assign(new Error('it is read-only'), { code: READ_ONLY })
}
