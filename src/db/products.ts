import type { Terms } from '../engine/products.ts'
import type { Sql } from './client.ts'

/** A product as PostgreSQL knows it: its terms, where it lives, and its units in unpaid and paid orders. */
export type ProductRecord = {
  id: number
  shard: number
  total: number
  pending: number
  sold: number
  /** Raised by every change of the terms. */
  version: number
  terms: Terms
}

export type ProductRow = Omit<ProductRecord, 'terms'> & Terms

export const PRODUCT_COLUMNS = `p.id, p.shard, p.total, p.terms_version as version, p.name, p.unit_amount, p.currency, p.paused,
  p.max_per_hold, p.max_per_customer,
  p.hold_ttl_seconds * 1000 as hold_ttl_ms,
  (extract(epoch from p.starts_at) * 1000)::bigint as starts_at_ms,
  (extract(epoch from p.ends_at) * 1000)::bigint as ends_at_ms`

const COMMITTED = `(select i.product_id,
    sum(i.qty) filter (where o.order_status = 'pre-payment')::bigint as pending,
    sum(i.qty) filter (where o.order_status = 'confirmed')::bigint as sold
  from order_items i join orders o on o.id = i.order_id where o.order_status <> 'cancelled' group by i.product_id)`

export function toProduct({ id, shard, total, pending, sold, version, ...row }: ProductRow): ProductRecord {
  const { name, unit_amount, currency, hold_ttl_ms, starts_at_ms, ends_at_ms, paused } = row
  const { max_per_hold, max_per_customer } = row
  const terms = {
    name,
    unit_amount,
    currency,
    hold_ttl_ms,
    starts_at_ms,
    ends_at_ms,
    paused,
    max_per_hold,
    max_per_customer,
  }
  return { id, shard, total, pending, sold, version, terms }
}

/** All products of a shard with their committed units. */
export async function productsOfShard(sql: Sql, shard: number): Promise<ProductRecord[]> {
  const { rows } = await sql.query<ProductRow>({
    name: 'products-of-shard',
    text: `select ${PRODUCT_COLUMNS}, coalesce(c.pending, 0)::bigint as pending, coalesce(c.sold, 0)::bigint as sold
      from products p left join ${COMMITTED} c on c.product_id = p.id where p.shard = $1 order by p.id`,
    values: [shard],
  })
  return rows.map(toProduct)
}

/** Ids of a page of products above an id, of those that have been brought to Redis. */
export async function productPage(sql: Sql, after: number, limit: number): Promise<number[]> {
  const { rows } = await sql.query<{ id: number }>({
    name: 'product-page',
    text: 'select id from products where id > $1 and loaded_version > 0 order by id limit $2',
    values: [after, limit],
  })
  return rows.map(({ id }) => id)
}

/** Which of these ids are products that have been brought to Redis, and where they live. */
export async function findProducts(sql: Sql, ids: number[]): Promise<Array<{ id: number; shard: number }>> {
  const { rows } = await sql.query({
    name: 'find-products',
    text: 'select id, shard from products where id = any($1::bigint[]) and loaded_version > 0',
    values: [ids],
  })
  return rows
}

/** Creates the first product where there is none. Returns whether it did. Instances that start together create one. */
export async function seedProduct(
  sql: Sql,
  product: { name: string; unit_amount: number; currency: string; total: number },
  shards: number,
): Promise<boolean> {
  // A start in the middle of a sale must not wait until no order holds its product.
  const { rows } = await sql.query('select 1 from products limit 1')
  if (rows.length > 0) return false
  await sql.query('lock table products in share row exclusive mode')
  const { rowCount } = await sql.query(
    `insert into products (id, name, unit_amount, currency, total, shard)
      select 1, $1, $2, $3, $4, 1 % $5::int where not exists (select from products)`,
    [product.name, product.unit_amount, product.currency, product.total, shards],
  )
  if (rowCount === 0) return false
  await sql.query(`select setval(pg_get_serial_sequence('products', 'id'), 1)`)
  return true
}

/** Units that customers have in orders of products with `max_per_customer`, by product and customer. */
export async function buyersOfShard(
  sql: Sql,
  shard: number,
): Promise<Array<{ product_id: number; customer_id: string; units: number }>> {
  const { rows } = await sql.query({
    name: 'buyers-of-shard',
    text: `select i.product_id, o.customer_id, sum(i.qty)::bigint as units
      from products p join order_items i on i.product_id = p.id join orders o on o.id = i.order_id
      where p.shard = $1 and p.max_per_customer is not null and o.order_status <> 'cancelled' and o.customer_id is not null
      group by i.product_id, o.customer_id`,
    values: [shard],
  })
  return rows
}

/** The units of each product of a shard that the floor counts as committed. */
export async function committedOfShard(sql: Sql, shard: number): Promise<Map<number, number>> {
  const { rows } = await sql.query<{ id: number; committed: number }>({
    name: 'committed-of-shard',
    text: 'select id, committed from products where shard = $1',
    values: [shard],
  })
  return new Map(rows.map(({ id, committed }) => [id, committed]))
}

/**
 * Locks products in the order of their ids, before anything of a transaction changes them. Several statements follow that
 * each take some of these locks; two processes at it would else wait for each other.
 */
export async function lockProducts(sql: Sql, ids: number[]): Promise<void> {
  if (ids.length === 0) return
  await sql.query({
    name: 'lock-products',
    text: 'select 1 from products where id = any($1::bigint[]) order by id for no key update',
    values: [ids],
  })
}
