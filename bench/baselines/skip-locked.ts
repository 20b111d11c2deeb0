import { openPool, type Row, readRow } from './pool.ts'
import { addHoldRoute, HOLD_TTL_MS, serve } from './serve.ts'

/*
  (g): a row for each unit. Buyers take free ones that nobody else is about to take, so none waits for another. One statement
  that is its own transaction; where fewer rows are found than asked for it raises, and nothing is taken.
*/

const PLACE = {
  name: 'place',
  text: `with free as (
      select id from baseline.units where product_id = $2 and hold_id is null order by id limit $3 for update skip locked
    ), taken as (
      update baseline.units set hold_id = $1 from free where units.id = free.id returning units.id
    ), enough as (
      select 1 / (count(*) = $3)::int as is_enough from taken
    )
    insert into baseline.holds (id, product_id, qty, unit_amount, currency, created_at, expires_at)
    select $1, $2, $3, unit_amount, currency, now(), now() + $4 * interval '1 millisecond'
    from baseline.products, enough where products.id = $2 and is_enough = 1
    returning unit_amount, currency, created_at`,
}
const DIVISION_BY_ZERO = '22012'

const pool = openPool()

await serve((app) =>
  addHoldRoute(app, async (id, product_id, qty) => {
    try {
      const { rows } = await pool.query<Row>({ ...PLACE, values: [id, product_id, qty, HOLD_TTL_MS] })
      return readRow(rows[0])
    } catch (error) {
      if ((error as { code?: string }).code === DIVISION_BY_ZERO) return undefined
      throw error
    }
  }),
)
