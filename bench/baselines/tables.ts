import type { ClientBase } from 'pg'

/*
  The tables of the baselines in PostgreSQL, in a schema of their own beside those of the service: same server, same
  settings, same durability. No worker vacuums them, since it would come up to a minute later, in the turn of another arm;
  each round begins with empty ones.
*/

/** Any number of units that no run uses up. */
const UNITS = 1_000_000_000

const TABLES = `
create schema baseline;
create table baseline.products (
  id bigint primary key, unit_amount bigint not null, currency text not null, stock bigint not null check (stock >= 0)
) with (fillfactor = 50, autovacuum_enabled = off);
create table baseline.holds (
  id text primary key, product_id bigint not null, qty bigint not null, unit_amount bigint not null, currency text not null,
  created_at timestamptz not null, expires_at timestamptz not null
) with (autovacuum_enabled = off);
create index on baseline.holds (expires_at);
create table baseline.units (id bigint primary key, product_id bigint not null, hold_id text)
  with (fillfactor = 50, autovacuum_enabled = off);
create index on baseline.units (product_id, id) where hold_id is null;
create table baseline.orders (
  id text primary key, hold_id text not null, shard integer not null, version integer not null, payment_status text not null,
  order_status text not null, cancel_reason text, amount bigint not null, currency text not null, customer_id text,
  created_at timestamptz not null, pay_by timestamptz not null, hold_created_at timestamptz not null,
  hold_expires_at timestamptz not null, idem text
) with (autovacuum_enabled = off);
`

export async function createBaselineTables(sql: ClientBase): Promise<void> {
  await sql.query(TABLES)
}

/** The state that each round begins with. */
export async function resetBaselineTables(
  sql: ClientBase,
  product_id: number,
  unit_rows: number,
): Promise<void> {
  await sql.query('truncate baseline.products, baseline.holds, baseline.units, baseline.orders')
  await sql.query(`insert into baseline.products values ($1, 9900, 'USD', $2)`, [product_id, UNITS])
  await sql.query('insert into baseline.units select id, $1 from generate_series(1, $2::int) as id', [
    product_id,
    unit_rows,
  ])
  await sql.query('analyze baseline.products, baseline.holds, baseline.units')
}
