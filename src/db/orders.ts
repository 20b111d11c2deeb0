import { holdId, orderId, shardOfId } from '../engine/ids.ts'
import type { Item, Order } from '../engine/records.ts'
import type { Sql } from './client.ts'

type OrderRow = Omit<Order, 'id' | 'items'> & { id: string; items: Item[] }

const ORDER_COLUMNS = `o.id, o.version, o.payment_status, o.order_status, o.cancel_reason, o.amount, o.currency, o.customer_id, o.idem,
  (extract(epoch from o.created_at) * 1000)::bigint as created_at_ms,
  (extract(epoch from o.pay_by) * 1000)::bigint as pay_by_ms,
  (extract(epoch from o.hold_created_at) * 1000)::bigint as hold_created_at_ms,
  (extract(epoch from o.hold_expires_at) * 1000)::bigint as hold_expires_at_ms,
  (select json_agg(json_build_object('product_id', i.product_id, 'qty', i.qty, 'unit_amount', i.unit_amount)
     order by i.product_id) from order_items i where i.order_id = o.id) as items`

const toOrder = (row: OrderRow): Order => ({ ...row, id: row.id.slice('ord_'.length) })

/** Writes orders as they stand after their latest transition; older versions change nothing. One statement a table. */
export async function upsertOrders(sql: Sql, orders: Order[]): Promise<void> {
  if (orders.length === 0) return
  await sql.query({
    name: 'upsert-orders',
    text: `insert into orders as known (id, hold_id, shard, version, payment_status, order_status, cancel_reason, amount,
        currency, customer_id, created_at, pay_by, hold_created_at, hold_expires_at, idem)
      select id, hold_id, shard, version, payment_status, order_status, cancel_reason, amount, currency, customer_id,
        to_timestamp(created_at_ms / 1000.0), to_timestamp(pay_by_ms / 1000.0),
        to_timestamp(hold_created_at_ms / 1000.0), to_timestamp(hold_expires_at_ms / 1000.0), idem
      from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::text[], $6::text[], $7::text[], $8::bigint[],
        $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[])
        as new (id, hold_id, shard, version, payment_status, order_status, cancel_reason, amount, currency, customer_id,
          created_at_ms, pay_by_ms, hold_created_at_ms, hold_expires_at_ms, idem)
      order by id
      on conflict (id) do update set version = excluded.version, payment_status = excluded.payment_status,
        order_status = excluded.order_status, cancel_reason = excluded.cancel_reason
      where known.version < excluded.version`,
    values: [
      orders.map(({ id }) => orderId(id)),
      orders.map(({ id }) => holdId(id)),
      orders.map(({ id }) => shardOfId(id)),
      orders.map(({ version }) => version),
      orders.map(({ payment_status }) => payment_status),
      orders.map(({ order_status }) => order_status),
      orders.map(({ cancel_reason }) => cancel_reason),
      orders.map(({ amount }) => amount),
      orders.map(({ currency }) => currency),
      orders.map(({ customer_id }) => customer_id),
      orders.map(({ created_at_ms }) => created_at_ms),
      orders.map(({ pay_by_ms }) => pay_by_ms),
      orders.map(({ hold_created_at_ms }) => hold_created_at_ms),
      orders.map(({ hold_expires_at_ms }) => hold_expires_at_ms),
      orders.map(({ idem }) => idem),
    ],
  })
  const items = orders.flatMap(({ id, items }) => items.map((item) => ({ ...item, order_id: orderId(id) })))
  await sql.query({
    name: 'insert-order-items',
    text: `insert into order_items (order_id, product_id, qty, unit_amount)
      select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
      on conflict do nothing`,
    values: [
      items.map(({ order_id }) => order_id),
      items.map(({ product_id }) => product_id),
      items.map(({ qty }) => qty),
      items.map(({ unit_amount }) => unit_amount),
    ],
  })
}

/** The orders with these ids (without `ord_`), as far as they exist. */
export async function findOrders(sql: Sql, ids: string[]): Promise<Order[]> {
  const { rows } = await sql.query<OrderRow>({
    name: 'find-orders',
    text: `select ${ORDER_COLUMNS} from orders o where o.id = any($1::text[])`,
    values: [ids.map(orderId)],
  })
  return rows.map(toOrder)
}

/** The unpaid orders of a shard with an id above `after`, in the order of their ids, at most `limit`. */
export async function unpaidOrders(sql: Sql, shard: number, after: string, limit: number): Promise<Order[]> {
  const { rows } = await sql.query<OrderRow>({
    name: 'unpaid-orders',
    text: `select ${ORDER_COLUMNS} from orders o
      where o.shard = $1 and o.order_status = 'pre-payment' and o.id > $2 order by o.id limit $3`,
    values: [shard, after === '' ? '' : orderId(after), limit],
  })
  return rows.map(toOrder)
}

/** Those of these ids (without `ord_`) that orders have. */
export async function knownOrderIds(sql: Sql, ids: string[]): Promise<string[]> {
  const { rows } = await sql.query<{ id: string }>({
    name: 'known-order-ids',
    text: 'select id from orders where id = any($1::text[])',
    values: [ids.map(orderId)],
  })
  return rows.map(({ id }) => id.slice('ord_'.length))
}

/** The ids (without `ord_`) of all unpaid orders of a shard. */
export async function orderIdsUnpaid(sql: Sql, shard: number): Promise<string[]> {
  const { rows } = await sql.query<{ id: string }>({
    name: 'order-ids-unpaid',
    text: `select id from orders where shard = $1 and order_status = 'pre-payment'`,
    values: [shard],
  })
  return rows.map(({ id }) => id.slice('ord_'.length))
}
