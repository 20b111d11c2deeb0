import type { Adjustment } from '../engine/records.ts'
import { inOrder, type Sql } from './client.ts'
import { OtherHistoryError } from './orders.ts'

/** Throws where a key has a row that says something else: it was used in another history. */
async function refuseOthers(sql: Sql, adjustments: Adjustment[]): Promise<void> {
  const { rows } = await sql.query<{ idempotency_key: string }>({
    name: 'other-adjustments',
    text: `select idempotency_key from stock_adjustments known
      join unnest($1::bigint[], $2::text[], $3::bigint[]) as new (product_id, idempotency_key, delta)
        using (product_id, idempotency_key)
      where known.delta <> new.delta limit 1`,
    values: [
      adjustments.map(({ product_id }) => product_id),
      adjustments.map(({ idempotency_key }) => idempotency_key),
      adjustments.map(({ delta }) => delta),
    ],
  })
  if (rows[0]) throw new OtherHistoryError(`the change of stock ${rows[0].idempotency_key}`)
}

/**
 * Records stock adjustments and changes the totals by those that were not recorded before. Throws OtherHistoryError where a key has
 * changed another number of units.
 */
export async function recordAdjustments(sql: Sql, adjustments: Adjustment[]): Promise<void> {
  if (adjustments.length === 0) return
  const recorded = sql.query({
    name: 'record-adjustments',
    text: `with recorded as (
        insert into stock_adjustments (product_id, idempotency_key, delta, reason, created_at)
        select product_id, idempotency_key, delta, reason, to_timestamp(created_at_ms / 1000.0)
        from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
          as new (product_id, idempotency_key, delta, reason, created_at_ms)
        on conflict do nothing returning product_id, delta
      )
      update products set total = total + change.delta
      from (select product_id, sum(delta)::bigint as delta from recorded group by product_id) as change
      where products.id = change.product_id`,
    values: [
      adjustments.map(({ product_id }) => product_id),
      adjustments.map(({ idempotency_key }) => idempotency_key),
      adjustments.map(({ delta }) => delta),
      adjustments.map(({ reason }) => reason),
      adjustments.map(({ created_at_ms }) => created_at_ms),
    ],
  })
  await inOrder([recorded, refuseOthers(sql, adjustments)])
}

type Known = { shelf: string | null; loaded_version: number; delta: number | null }

/** A product, and by how much a key has changed its total, null where it has not. Undefined: there is no such product. */
export async function findAdjustment(
  sql: Sql,
  product_id: number,
  idempotency_key: string,
): Promise<Known | undefined> {
  const { rows } = await sql.query<Known>({
    name: 'find-adjustment',
    text: `select p.shelf, a.delta, p.loaded_version from products p
      left join stock_adjustments a on a.product_id = p.id and a.idempotency_key = $2
      where p.id = $1`,
    values: [product_id, idempotency_key],
  })
  return rows[0]
}

/** Those of these adjustments that are recorded, as `<product>:<key>`. */
export async function knownAdjustments(
  sql: Sql,
  adjustments: Array<{ product_id: number; idempotency_key: string }>,
): Promise<Set<string>> {
  const { rows } = await sql.query<{ name: string }>({
    name: 'known-adjustments',
    text: `select product_id || ':' || idempotency_key as name
      from stock_adjustments join unnest($1::bigint[], $2::text[]) as asked (product_id, idempotency_key)
        using (product_id, idempotency_key)`,
    values: [
      adjustments.map(({ product_id }) => product_id),
      adjustments.map(({ idempotency_key }) => idempotency_key),
    ],
  })
  return new Set(rows.map(({ name }) => name))
}
