import { orderId } from '../engine/ids.ts'
import type { Payment } from '../engine/records.ts'
import type { Sql } from './client.ts'
import { OtherHistoryError } from './orders.ts'

const PAYMENT_COLUMNS = `idempotency_key, order_id, status, outcome, first_outcome, reason, amount, currency, payment_method,
  transaction_id, seq, (extract(epoch from created_at) * 1000)::bigint as created_at_ms`

/** A payment with what became of its money. */
export type PaymentRow = Payment & { refunded_at_ms: number | null }

const toPayment = (row: Payment): Payment => ({ ...row, order_id: row.order_id.slice('ord_'.length) })

/** A payment's key is that of another payment already. Of the class of errors that blame the data. */
export class KeyTakenError extends Error {
  readonly code = 'P0001'
  constructor(idempotency_key: string) {
    super(`the payment key ${idempotency_key} was used for another payment`)
  }
}

/** Whether two notices under one key announce the same payment. */
export const isSamePayment = (one: Notice, other: Notice): boolean =>
  one.order_id === other.order_id &&
  one.status === other.status &&
  one.amount === other.amount &&
  one.currency === other.currency

type Notice = Pick<Payment, 'order_id' | 'status' | 'amount' | 'currency'>

/** Whether a payment is written by a row: as it is, or parked and settled since. */
export const isWrittenBy = (payment: Payment, row: Payment | undefined): boolean =>
  row !== undefined &&
  isSamePayment(payment, row) &&
  (payment.outcome === row.outcome || payment.outcome === 'parked')

/** Throws where the row of one of these keys is that of another payment, or says that something else became of this one. */
async function refuseOthers(sql: Sql, payments: Payment[]): Promise<void> {
  const found = await findPayments(
    sql,
    payments.map(({ idempotency_key }) => idempotency_key),
  )
  const rows = new Map(found.map((row) => [row.idempotency_key, row]))
  for (const payment of payments) {
    const row = rows.get(payment.idempotency_key)
    if (!row || isWrittenBy(payment, row)) continue
    if (!isSamePayment(payment, row)) throw new KeyTakenError(payment.idempotency_key)
    throw new OtherHistoryError(`payment ${payment.idempotency_key}`)
  }
}

/** A payment with the shard of its order. */
export type PlacedPayment = { shard: number; payment: Payment }

/**
 * Writes payments, one row a key. A row changes once more: when a parked payment is settled. Returns how many it changed. Throws KeyTakenError where a
 * key has a row for another payment: shards do not know of each other's keys, so two of them may have applied one. Throws
 * OtherHistoryError where the row says that something else became of the payment.
 */
export async function upsertPayments(sql: Sql, placed: PlacedPayment[]): Promise<number> {
  if (placed.length === 0) return 0
  const payments = placed.map(({ payment }) => payment)
  const { rowCount } = await sql.query({
    name: 'upsert-payments',
    text: `insert into payments as known (idempotency_key, order_id, shard, status, outcome, first_outcome, reason, amount,
        currency, payment_method, transaction_id, created_at, seq)
      select idempotency_key, order_id, shard, status, outcome, first_outcome, reason, amount, currency, payment_method,
        transaction_id, to_timestamp(created_at_ms / 1000.0), seq
      from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
        $9::text[], $10::text[], $11::text[], $12::bigint[], $13::int[])
        as new (idempotency_key, order_id, shard, status, outcome, first_outcome, reason, amount, currency,
          payment_method, transaction_id, created_at_ms, seq)
      order by idempotency_key
      on conflict (idempotency_key) do update set outcome = excluded.outcome, reason = excluded.reason
      where known.order_id = excluded.order_id and known.status = excluded.status and known.outcome = 'parked'
        and excluded.outcome <> 'parked'`,
    values: [
      payments.map(({ idempotency_key }) => idempotency_key),
      payments.map(({ order_id }) => orderId(order_id)),
      placed.map(({ shard }) => shard),
      payments.map(({ status }) => status),
      payments.map(({ outcome }) => outcome),
      payments.map(({ first_outcome }) => first_outcome),
      payments.map(({ reason }) => reason),
      payments.map(({ amount }) => amount),
      payments.map(({ currency }) => currency),
      payments.map(({ payment_method }) => payment_method),
      payments.map(({ transaction_id }) => transaction_id),
      payments.map(({ created_at_ms }) => created_at_ms),
      payments.map(({ seq }) => seq),
    ],
  })
  // A row that stays as it is was written before: by the same payment, or by another one under its key.
  if (rowCount !== payments.length) await refuseOthers(sql, payments)
  return rowCount ?? 0
}

/** The payments with these idempotency keys, as far as they exist. */
export async function findPayments(sql: Sql, idempotency_keys: string[]): Promise<Payment[]> {
  const { rows } = await sql.query<Payment>({
    name: 'find-payments',
    text: `select ${PAYMENT_COLUMNS} from payments where idempotency_key = any($1::text[])`,
    values: [idempotency_keys],
  })
  return rows.map(toPayment)
}

/** All payments of these orders (ids without `ord_`), first come first. */
export async function paymentsOfOrders(sql: Sql, order_ids: string[]): Promise<Payment[]> {
  const { rows } = await sql.query<Payment>({
    name: 'payments-of-orders',
    text: `select ${PAYMENT_COLUMNS} from payments where order_id = any($1::text[]) order by created_at, idempotency_key`,
    values: [order_ids.map(orderId)],
  })
  return rows.map(toPayment)
}

/** Parked payments of a shard, those of one order in the order of their coming. */
export async function parkedPayments(sql: Sql, shard: number): Promise<Payment[]> {
  const { rows } = await sql.query<Payment>({
    name: 'parked-payments',
    text: `select ${PAYMENT_COLUMNS} from payments where outcome = 'parked' and shard = $1
      order by order_id, seq, created_at, idempotency_key`,
    values: [shard],
  })
  return rows.map(toPayment)
}

const ROW_COLUMNS = `${PAYMENT_COLUMNS}, (extract(epoch from refunded_at) * 1000)::bigint as refunded_at_ms`
const toRow = (row: PaymentRow): PaymentRow => ({ ...row, order_id: row.order_id.slice('ord_'.length) })

/** A page of payments, newest first, those after the sort key `after`. `order_id` as the outside sees it. */
export async function listPayments(
  sql: Sql,
  filter: { outcome?: string | undefined; order_id?: string | undefined; is_refunded?: boolean | undefined },
  after: readonly [created_at_ms: number, idempotency_key: string] | null,
  limit: number,
): Promise<PaymentRow[]> {
  const { rows } = await sql.query<PaymentRow>(
    `select ${ROW_COLUMNS} from payments
      where ($1::text is null or outcome = $1) and ($2::text is null or order_id = $2)
        and ($3::boolean is null or (refunded_at is not null) = $3)
        and ($4::bigint is null or (created_at, idempotency_key) < (to_timestamp($4 / 1000.0)::timestamptz(3), $5))
      order by created_at desc nulls last, idempotency_key desc nulls last limit $6`,
    [
      filter.outcome ?? null,
      filter.order_id ?? null,
      filter.is_refunded ?? null,
      after?.[0],
      after?.[1],
      limit,
    ],
  )
  return rows.map(toRow)
}

/** Notes that money due back went back, once. Returns the payment as it is then, or undefined where there is none. */
export async function markRefunded(sql: Sql, idempotency_key: string): Promise<PaymentRow | undefined> {
  await sql.query(
    `update payments set refunded_at = now() where idempotency_key = $1 and outcome = 'refund_due' and refunded_at is null`,
    [idempotency_key],
  )
  const { rows } = await sql.query<PaymentRow>(
    `select ${ROW_COLUMNS} from payments where idempotency_key = $1`,
    [idempotency_key],
  )
  return rows.map(toRow)[0]
}

/** How many payments are due for refund and not yet paid back. */
export async function countRefundsOpen(sql: Sql): Promise<number> {
  const { rows } = await sql.query<{ count: number }>({
    name: 'count-refunds-open',
    text: `select count(*) as count from payments where outcome = 'refund_due' and refunded_at is null`,
  })
  return rows[0]?.count ?? 0
}
