import type { KeyedChange, RememberedProduct } from '../engine/remembered.ts'
import type { Sql } from './client.ts'
import { PRODUCT_COLUMNS, type ProductRecord, type ProductRow, toProduct } from './products.ts'
import { valuesOf } from './terms.ts'

/** Products as they are recorded, of those that are asked for. */
export async function recordedProducts(sql: Sql, ids: number[]): Promise<Map<number, ProductRecord>> {
  const { rows } = await sql.query<ProductRow>(
    `select ${PRODUCT_COLUMNS}, 0 as pending, 0 as sold from products p where p.id = any($1::bigint[])`,
    [ids],
  )
  return new Map(rows.map((row) => [row.id, toProduct(row)]))
}

/** Writes a product again that is not recorded any more. */
export async function restoreProduct(
  sql: Sql,
  shard: number,
  { id, terms, version }: RememberedProduct,
  total: number,
): Promise<void> {
  await sql.query(
    `insert into products (name, unit_amount, currency, hold_ttl_seconds, starts_at, ends_at, paused, max_per_hold,
        max_per_customer, id, total, shard, terms_version, loaded_version)
      values ($1, $2, $3, $4::bigint / 1000, to_timestamp($5::bigint / 1000.0), to_timestamp($6::bigint / 1000.0), $7, $8,
        $9, $10, $11, $12, $13, $13)`,
    [...valuesOf(terms), id, total, shard, version],
  )
}

/** No product that comes may get the id of one that was lost: the highest that is known, in Redis too, has been given out. */
export async function skipIds(sql: Sql, highest: number): Promise<void> {
  await sql.query(
    `select setval(pg_get_serial_sequence('products', 'id'), greatest($1::bigint, (select max(id) from products),
        (select last_value from products_id_seq)))`,
    [highest],
  )
}

/** Gives a product the later terms that are remembered of it. */
export async function restoreTerms(
  sql: Sql,
  { id, terms, version }: Omit<RememberedProduct, 'total'>,
): Promise<void> {
  await sql.query(
    `update products set name = $1, unit_amount = $2, currency = $3, hold_ttl_seconds = $4::bigint / 1000,
        starts_at = to_timestamp($5::bigint / 1000.0), ends_at = to_timestamp($6::bigint / 1000.0), paused = $7,
        max_per_hold = $8, max_per_customer = $9, terms_version = $11, terms_changed_at = now()
      where id = $10 and terms_version < $11`,
    [...valuesOf(terms), id, version],
  )
}

/** Those of these changes of stock that are not recorded. */
export async function unrecorded(sql: Sql, changes: KeyedChange[]): Promise<KeyedChange[]> {
  const { rows } = await sql.query<KeyedChange>(
    `select asked.* from unnest($1::bigint[], $2::text[], $3::bigint[]) as asked (product_id, idempotency_key, delta)
      left join stock_adjustments known using (product_id, idempotency_key) where known.delta is null`,
    [
      changes.map(({ product_id }) => product_id),
      changes.map(({ idempotency_key }) => idempotency_key),
      changes.map(({ delta }) => delta),
    ],
  )
  return rows
}

/** Notes what can not be told any more, or not without a person. */
export async function noteLosses(sql: Sql, shard: number, losses: string[]): Promise<void> {
  if (losses.length === 0) return
  await sql.query('insert into losses (shard, what) select $1, * from unnest($2::text[])', [shard, losses])
}

/** What could not be told, the latest last. */
export async function findLosses(sql: Sql): Promise<Array<{ shard: number; what: string; found_at: Date }>> {
  const { rows } = await sql.query('select shard, what, found_at from losses order by loss')
  return rows
}

/** From now on a shard is behind no longer. */
export async function settleShard(sql: Sql, shard: number): Promise<void> {
  await sql.query('update shards set behind_since = null where shard = $1', [shard])
}
