import { openPool, type Row, readRow } from './pool.ts'
import { addHoldRoute, HOLD_TTL_MS, serve } from './serve.ts'

/* (d): the product's row is locked, looked at, written and unlocked, in a transaction a request. */

const LOCK = {
  name: 'lock',
  text: 'select stock, unit_amount, currency, now() as created_at from baseline.products where id = $1 for update',
}
const INSERT = {
  name: 'insert',
  text: `insert into baseline.holds (id, product_id, qty, unit_amount, currency, created_at, expires_at)
    values ($1, $2, $3, $4, $5, $6, $6::timestamptz + $7 * interval '1 millisecond')`,
}
const TAKE = { name: 'take', text: 'update baseline.products set stock = stock - $2 where id = $1' }

const pool = openPool()

await serve((app) =>
  addHoldRoute(app, async (id, product_id, qty) => {
    const sql = await pool.connect()
    let is_broken = true
    try {
      await sql.query('begin')
      const [row] = (await sql.query<Row & { stock: string }>({ ...LOCK, values: [product_id] })).rows
      if (!row || Number(row.stock) < qty) {
        await sql.query('rollback')
        is_broken = false
        return undefined
      }
      const { unit_amount, currency, created_at } = row
      const values = [id, product_id, qty, unit_amount, currency, created_at, HOLD_TTL_MS]
      await sql.query({ ...INSERT, values })
      await sql.query({ ...TAKE, values: [product_id, qty] })
      await sql.query('commit')
      is_broken = false
      return readRow(row)
    } finally {
      sql.release(is_broken)
    }
  }),
)
