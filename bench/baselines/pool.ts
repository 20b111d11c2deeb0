import pg from 'pg'
import { type Held, HOLD_TTL_MS } from './serve.ts'

/**
 * Enough that PostgreSQL always has work and commits share their flushes of the log; with more, requests for the row of one
 * product only wait inside PostgreSQL in the place of the pool.
 */
const MAX_CONNECTIONS = 16

export const openPool = () =>
  new pg.Pool({ connectionString: process.env.DATABASE_URL, max: MAX_CONNECTIONS })

/** The columns that a baseline's statement answers with. */
export type Row = { unit_amount: string; currency: string; created_at: Date }

export function readRow(row: Row | undefined): Held | undefined {
  if (!row) return undefined
  const created_at_ms = row.created_at.getTime()
  const { unit_amount, currency } = row
  return {
    unit_amount: Number(unit_amount),
    currency,
    created_at_ms,
    expires_at_ms: created_at_ms + HOLD_TTL_MS,
  }
}
