import { openPool, type Row, readRow } from './pool.ts'
import { addHoldRoute, HOLD_TTL_MS, serve } from './serve.ts'

/* (e): an update that finds no row where units are short, and the hold, in one statement that is its own transaction. */

const PLACE = {
  name: 'place',
  text: `with taken as (
      update baseline.products set stock = stock - $3 where id = $2 and stock >= $3 returning unit_amount, currency
    )
    insert into baseline.holds (id, product_id, qty, unit_amount, currency, created_at, expires_at)
    select $1, $2, $3, unit_amount, currency, now(), now() + $4 * interval '1 millisecond' from taken
    returning unit_amount, currency, created_at`,
}

const pool = openPool()

await serve((app) =>
  addHoldRoute(app, async (id, product_id, qty) => {
    const { rows } = await pool.query<Row>({ ...PLACE, values: [id, product_id, qty, HOLD_TTL_MS] })
    return readRow(rows[0])
  }),
)
