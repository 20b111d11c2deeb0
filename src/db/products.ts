import type { Buyer } from '../engine/bought.ts'
import type { Terms } from '../engine/products.ts'
import type { Sql } from './client.ts'

/** Some seconds for a million orders; nobody waits for it but who asked. */
const AUDIT_PATIENCE_MS = 600_000

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

/** Units in unpaid orders of a shard, by product. No plan of it looks at orders that are over. */
const PENDING = `(select i.product_id, sum(i.qty)::bigint as units
  from orders o cross join lateral (select product_id, qty from order_items where order_id = o.id offset 0) i
  where o.shard = $1 and o.order_status = 'pre-payment' group by i.product_id)`

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

/** All products of a shard with their committed units: what of those is not in unpaid orders is sold. `verify` tells where they are too few. */
export async function productsOfShard(sql: Sql, shard: number): Promise<ProductRecord[]> {
  const { rows } = await sql.query<ProductRow>({
    name: 'products-of-shard',
    text: `select ${PRODUCT_COLUMNS}, coalesce(u.units, 0) as pending, greatest(p.committed - coalesce(u.units, 0), 0) as sold
      from products p left join ${PENDING} u on u.product_id = p.id where p.shard = $1 order by p.id`,
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

/**
 * How many units each of these buyers had in orders that were paid before the shard of the product had this epoch: no later one has
 * had a transition since.
 */
export async function boughtBefore(sql: Sql, buyers: Buyer[], epoch: number): Promise<number[]> {
  const { rows } = await sql.query<{ units: number }>({
    name: 'bought-before',
    // Written so that no plan looks at more than the orders of these customers: all others have the same state, or the same product.
    text: `select (select coalesce(sum(
          (select i.qty from order_items i where i.order_id = o.id and i.product_id = asked.product_id)
        ) filter (where o.order_status = 'confirmed' and substring(o.history from '([0-9]+)-[0-9]+$')::bigint < $3), 0)::bigint
        from orders o where o.customer_id = asked.customer_id) as units
      from unnest($1::bigint[], $2::text[]) with ordinality as asked (product_id, customer_id, at) order by asked.at`,
    values: [buyers.map(({ product_id }) => product_id), buyers.map(({ customer_id }) => customer_id), epoch],
  })
  return rows.map(({ units }) => units)
}

/** Whether any product lives in a shard. */
export async function hasProducts(sql: Sql, shard: number): Promise<boolean> {
  const { rows } = await sql.query('select 1 from products where shard = $1 limit 1', [shard])
  return rows.length > 0
}

/**
 * The units of each product of a shard that the floor counts as committed, and how many its orders have. Goes through all orders there
 * ever were: for a transaction of its own, which this gives all the time it needs.
 */
export async function auditCommitted(
  sql: Sql,
  shard: number,
): Promise<Array<{ id: number; committed: number; ordered: number }>> {
  await sql.query(
    `select set_config('statement_timeout', $1, true), set_config('enable_seqscan', 'on', true)`,
    [String(AUDIT_PATIENCE_MS)],
  )
  const query = {
    text: `select p.id, p.committed, coalesce(c.units, 0) as ordered from products p left join (
        select i.product_id, sum(i.qty)::bigint as units from order_items i join orders o on o.id = i.order_id
        where o.order_status <> 'cancelled' group by i.product_id) c on c.product_id = p.id
      where p.shard = $1`,
    values: [shard],
    query_timeout: AUDIT_PATIENCE_MS,
  }
  return (await sql.query<{ id: number; committed: number; ordered: number }>(query)).rows
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
