import { orderId } from '../engine/ids.ts'
import { type Order, versionOf } from '../engine/records.ts'
import type { Sql } from './client.ts'

type OrderRow = Omit<Order, 'version'>

const ORDER_COLUMNS = `o.id, o.history, o.payment_status, o.order_status, o.cancel_reason, o.amount, o.currency, o.customer_id, o.idem,
  (extract(epoch from o.created_at) * 1000)::bigint as created_at_ms,
  (extract(epoch from o.pay_by) * 1000)::bigint as pay_by_ms,
  (extract(epoch from o.hold_created_at) * 1000)::bigint as hold_created_at_ms,
  (extract(epoch from o.hold_expires_at) * 1000)::bigint as hold_expires_at_ms,
  (select json_agg(json_build_object('product_id', i.product_id, 'qty', i.qty, 'unit_amount', i.unit_amount)
     order by i.product_id) from order_items i where i.order_id = o.id) as items`

const toOrder = (row: OrderRow): Order => ({
  ...row,
  id: row.id.slice('ord_'.length),
  version: versionOf(row.history),
})

/** Values that need no quotes, as PostgreSQL reads an array of them: pg would quote each one. */
const plain = (values: Array<string | number | null>) => `{${values.map((value) => value ?? 'NULL').join()}}`

/** An order with the shard that it lives in. */
export type PlacedOrder = { shard: number; order: Order }

/** PostgreSQL has another history of the same order or payment. Of the class of errors that blame the data. */
export class OtherHistoryError extends Error {
  readonly code = 'P0001'
  constructor(what: string) {
    super(`PostgreSQL has another history of ${what}`)
  }
}

/** PostgreSQL does not have the order yet on which something was decided. Of the class of errors that blame the data. */
export class EarlyError extends Error {
  readonly code = 'P0001'
  constructor(what: string) {
    super(`PostgreSQL does not have ${what} as it was`)
  }
}

/**
 * Throws EarlyError where PostgreSQL does not have one of these orders as it is, or what became of that, and OtherHistoryError where it
 * has another history of it.
 */
export async function requireHistories(sql: Sql, orders: Order[]): Promise<void> {
  if (orders.length === 0) return
  const known = await findHistories(
    sql,
    orders.map(({ id }) => id),
  )
  for (const { id, history } of orders) {
    const own = `${known.get(id) ?? ''},`
    if (own.startsWith(`${history},`)) continue
    if (known.has(id) && !`${history},`.startsWith(own)) throw new OtherHistoryError(`order ${id}`)
    throw new EarlyError(`order ${id}`)
  }
}

/** Throws where one of these orders is neither what PostgreSQL has, nor what became of that, nor what that came of. */
async function refuseOtherHistories(sql: Sql, orders: Order[]): Promise<void> {
  const { rows } = await sql.query<{ id: string }>({
    name: 'other-histories',
    text: `select known.id from orders known join unnest($1::text[], $2::text[]) as new (id, history) using (id)
      where not starts_with(known.history || ',', new.history || ',') and not starts_with(new.history || ',', known.history || ',')
      limit 1`,
    values: [orders.map(({ id }) => orderId(id)), orders.map(({ history }) => history)],
  })
  if (rows[0]) throw new OtherHistoryError(rows[0].id)
}

/**
 * Writes orders as they stand after their latest transition; one that something has come of already changes nothing. One statement a
 * table. Returns how many it changed. Throws OtherHistoryError where an order is of another history than the one that PostgreSQL has.
 */
export async function upsertOrders(sql: Sql, placed: PlacedOrder[]): Promise<number> {
  if (placed.length === 0) return 0
  const orders = placed.map(({ order }) => order)
  const written = sql.query({
    name: 'upsert-orders',
    text: `insert into orders as known (id, shard, history, payment_status, order_status, cancel_reason, amount, currency, customer_id,
        created_at, pay_by, hold_created_at, hold_expires_at, idem)
      select id, shard, history, payment_status, order_status, cancel_reason, amount, currency, customer_id,
        to_timestamp(created_at_ms / 1000), to_timestamp(pay_by_ms / 1000),
        to_timestamp(hold_created_at_ms / 1000), to_timestamp(hold_expires_at_ms / 1000), idem
      from unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[],
        $8::text[], $9::text[], $10::float8[], $11::float8[], $12::float8[], $13::float8[], $14::text[])
        as new (id, shard, history, payment_status, order_status, cancel_reason, amount, currency, customer_id,
          created_at_ms, pay_by_ms, hold_created_at_ms, hold_expires_at_ms, idem)
      order by id
      on conflict (id) do update set history = excluded.history, payment_status = excluded.payment_status,
        order_status = excluded.order_status, cancel_reason = excluded.cancel_reason
      where starts_with(excluded.history, known.history || ',')`,
    values: [
      plain(orders.map(({ id }) => orderId(id))),
      plain(placed.map(({ shard }) => shard)),
      orders.map(({ history }) => history),
      plain(orders.map(({ payment_status }) => payment_status)),
      plain(orders.map(({ order_status }) => order_status)),
      plain(orders.map(({ cancel_reason }) => cancel_reason)),
      plain(orders.map(({ amount }) => amount)),
      plain(orders.map(({ currency }) => currency)),
      orders.map(({ customer_id }) => customer_id),
      plain(orders.map(({ created_at_ms }) => created_at_ms)),
      plain(orders.map(({ pay_by_ms }) => pay_by_ms)),
      plain(orders.map(({ hold_created_at_ms }) => hold_created_at_ms)),
      plain(orders.map(({ hold_expires_at_ms }) => hold_expires_at_ms)),
      orders.map(({ idem }) => idem),
    ],
  })
  const items = orders.flatMap(({ id, items, created_at_ms }) =>
    items.map((item) => ({ ...item, order_id: orderId(id), created_at_ms })),
  )
  const items_written = sql.query({
    name: 'insert-order-items',
    text: `insert into order_items (order_id, product_id, qty, unit_amount, created_at)
      select order_id, product_id, qty, unit_amount, to_timestamp(created_at_ms / 1000)
      from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::float8[])
        as new (order_id, product_id, qty, unit_amount, created_at_ms)
      on conflict do nothing`,
    values: [
      plain(items.map(({ order_id }) => order_id)),
      plain(items.map(({ product_id }) => product_id)),
      plain(items.map(({ qty }) => qty)),
      plain(items.map(({ unit_amount }) => unit_amount)),
      plain(items.map(({ created_at_ms }) => created_at_ms)),
    ],
  })
  const [{ rowCount }] = await Promise.all([written, items_written])
  if (rowCount !== orders.length) await refuseOtherHistories(sql, orders)
  return rowCount ?? 0
}

export type OrderFilter = {
  payment_status?: Order['payment_status'] | undefined
  order_status?: Order['order_status'] | undefined
  product_id?: number | undefined
  customer_id?: string | undefined
}
/** A place in the order of orders: by creation, then by id as the outside sees it. */
export type OrderPlace = readonly [created_at_ms: number, order_id: string]

/**
 * A page of orders, newest first, those after a place. Creation and id never change, so that pages neither skip nor repeat an
 * order while others are added or move on. Every filter has an index that gives the rows in this order.
 */
export async function listOrders(
  sql: Sql,
  filter: OrderFilter,
  after: OrderPlace | null,
  limit: number,
): Promise<Order[]> {
  const values: Array<string | number> = []
  const value = (one: string | number) => `$${values.push(one)}`
  const { product_id } = filter
  // The orders of a product are found and sorted by their items, which carry the moment of creation for this.
  const [from, created_at, id] =
    product_id === undefined
      ? ['orders o', 'o.created_at', 'o.id']
      : ['order_items f join orders o on o.id = f.order_id', 'f.created_at', 'f.order_id']
  const wanted = [
    ...(product_id === undefined ? [] : [`f.product_id = ${value(product_id)}`]),
    ...(['payment_status', 'order_status', 'customer_id'] as const).flatMap((column) => {
      const one = filter[column]
      return one === undefined ? [] : [`o.${column} = ${value(one)}`]
    }),
    ...(after
      ? [
          `(${created_at}, ${id}) < (to_timestamp(${value(after[0])}::bigint / 1000.0)::timestamptz(3), ${value(after[1])})`,
        ]
      : []),
  ]
  const { rows } = await sql.query<OrderRow>(
    `select ${ORDER_COLUMNS} from ${from} ${wanted.length > 0 ? `where ${wanted.join(' and ')}` : ''}
      order by ${created_at} desc nulls last, ${id} desc nulls last limit ${value(limit)}`,
    values,
  )
  return rows.map(toOrder)
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

/** Those of these orders (ids without `ord_`) that live in a shard. */
export async function ordersInShard(sql: Sql, shard: number, ids: string[]): Promise<Order[]> {
  if (ids.length === 0) return []
  const { rows } = await sql.query<OrderRow>({
    name: 'orders-in-shard',
    text: `select ${ORDER_COLUMNS} from orders o where o.id = any($1::text[]) and o.shard = $2`,
    values: [ids.map(orderId), shard],
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

/** The histories of those of these orders that there are, by id (without `ord_`). */
export async function findHistories(sql: Sql, ids: string[]): Promise<Map<string, string>> {
  const { rows } = await sql.query<{ id: string; history: string }>({
    name: 'find-histories',
    text: 'select id, history from orders where id = any($1::text[])',
    values: [ids.map(orderId)],
  })
  return new Map(rows.map(({ id, history }) => [id.slice('ord_'.length), history]))
}

/** Those of these ids (without `ord_`) that orders have. */
export async function knownOrderIds(sql: Sql, ids: string[]): Promise<string[]> {
  const { rows } = await sql.query<{ id: string }>({
    name: 'known-order-ids',
    text: 'select id from orders where id = any($1::text[])',
    values: [plain(ids.map(orderId))],
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
