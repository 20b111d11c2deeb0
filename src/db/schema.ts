import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  index,
  integer,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core'

/**
 * The lasting record. Amounts are minor units, times have milliseconds. Orders and payments carry the ids that the outside
 * sees (`ord_…`, `hld_…`).
 */
const count = (name: string) => bigint(name, { mode: 'number' })
const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' })

/** A cart of ten such products still has an amount below 2^53. */
const MAX_PRODUCT_AMOUNT = sql.raw('900719925474099')

export const products = pgTable(
  'products',
  {
    id: count('id').primaryKey().generatedByDefaultAsIdentity(),
    name: text('name').notNull(),
    unit_amount: count('unit_amount').notNull(),
    currency: text('currency').notNull(),
    total: count('total').notNull(),
    /** Units in unpaid and paid orders, kept by triggers: the floor that refuses to oversell on its own. */
    committed: count('committed').notNull().default(0),
    /** Where its stock lives. Products of one shard can be held together. */
    shard: integer('shard').notNull(),
    /** Products of one shelf live in one shard. */
    shelf: text('shelf'),
    hold_ttl_seconds: integer('hold_ttl_seconds'),
    starts_at: time('starts_at'),
    ends_at: time('ends_at'),
    paused: boolean('paused').notNull().default(false),
    max_per_hold: count('max_per_hold'),
    max_per_customer: count('max_per_customer'),
    created_at: time('created_at').notNull().defaultNow(),
    /** Raised by every change of the terms: Redis takes none that are older than those it has. */
    terms_version: integer('terms_version').notNull().default(1),
    /** The version that Redis is known to have had: a lower one is still to be brought there, 0 means none yet. */
    loaded_version: integer('loaded_version').notNull().default(1),
    terms_changed_at: time('terms_changed_at').notNull().defaultNow(),
  },
  (table) => [
    check('products_id_positive', sql`${table.id} > 0`),
    check('products_unit_amount_not_negative', sql`${table.unit_amount} >= 0`),
    check('products_currency_is_iso_4217', sql`${table.currency} ~ '^[A-Z]{3}$'`),
    check('products_floor', sql`${table.committed} between 0 and ${table.total}`),
    check('products_amount', sql`${table.unit_amount}::numeric * ${table.total} <= ${MAX_PRODUCT_AMOUNT}`),
    check('products_total', sql`${table.total} <= ${MAX_PRODUCT_AMOUNT}`),
    check('products_hold_ttl', sql`${table.hold_ttl_seconds} between 1 and 86400`),
    check('products_max_per_hold', sql`${table.max_per_hold} > 0`),
    check('products_max_per_customer', sql`${table.max_per_customer} > 0`),
    check('products_window', sql`${table.starts_at} < ${table.ends_at}`),
    index('products_of_shelf').on(table.shelf).where(sql`${table.shelf} is not null`),
    index('products_to_load').on(table.id).where(sql`${table.loaded_version} < ${table.terms_version}`),
  ],
)

export const orders = pgTable(
  'orders',
  {
    id: text('id').primaryKey(),
    /** Where it was last unpaid. It moves with its products until then. */
    shard: integer('shard').notNull(),
    /** Every transition so far, the latest last: only what came of this one replaces it. */
    history: text('history').notNull(),
    payment_status: text('payment_status').notNull(),
    order_status: text('order_status').notNull(),
    cancel_reason: text('cancel_reason'),
    amount: count('amount').notNull(),
    currency: text('currency').notNull(),
    customer_id: text('customer_id'),
    created_at: time('created_at').notNull(),
    pay_by: time('pay_by').notNull(),
    hold_created_at: time('hold_created_at').notNull(),
    hold_expires_at: time('hold_expires_at').notNull(),
    /** Idempotency key and fingerprint of the request that made it. */
    idem: text('idem'),
  },
  (table) => [
    check('orders_amount_not_negative', sql`${table.amount} >= 0`),
    check(
      'orders_state',
      sql`(${table.payment_status}, ${table.order_status}, coalesce(${table.cancel_reason}, '')) in (
        ('pending', 'pre-payment', ''), ('paid', 'confirmed', ''), ('failed', 'cancelled', 'payment_failed'),
        ('failed', 'cancelled', 'payment_timeout'), ('pending', 'cancelled', 'requested'))`,
    ),
    index('orders_newest').on(table.created_at.desc(), table.id.desc()),
    index('orders_of_customer')
      .on(table.customer_id, table.created_at.desc(), table.id.desc())
      .where(sql`${table.customer_id} is not null`),
    index('orders_by_payment_status').on(table.payment_status, table.created_at.desc(), table.id.desc()),
    index('orders_by_order_status').on(table.order_status, table.created_at.desc(), table.id.desc()),
    index('orders_unpaid').on(table.shard, table.id).where(sql`${table.order_status} = 'pre-payment'`),
  ],
)

/** That its order and its product are there is checked once a statement, by the trigger of the floor: foreign keys cost a query a row. */
export const order_items = pgTable(
  'order_items',
  {
    order_id: text('order_id').notNull(),
    product_id: count('product_id').notNull(),
    qty: count('qty').notNull(),
    unit_amount: count('unit_amount').notNull(),
    /** That of its order, so that the orders of a product can be listed by it. */
    created_at: time('created_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.order_id, table.product_id] }),
    check('order_items_qty_positive', sql`${table.qty} > 0`),
    check('order_items_unit_amount_not_negative', sql`${table.unit_amount} >= 0`),
    index('order_items_by_product').on(table.product_id, table.created_at.desc(), table.order_id.desc()),
  ],
)

/** One row an idempotency key. `order_id` refers to no row: a payment may come before its order, or without one. */
export const payments = pgTable(
  'payments',
  {
    idempotency_key: text('idempotency_key').primaryKey(),
    order_id: text('order_id').notNull(),
    /** Where it was last parked. */
    shard: integer('shard').notNull(),
    status: text('status').notNull(),
    outcome: text('outcome').notNull(),
    first_outcome: text('first_outcome').notNull(),
    reason: text('reason'),
    amount: count('amount'),
    currency: text('currency'),
    payment_method: text('payment_method'),
    transaction_id: text('transaction_id'),
    created_at: time('created_at').notNull(),
    /** How many payments were parked for its order before it. */
    seq: integer('seq').notNull().default(0),
    /** When somebody said that money due back went back. */
    refunded_at: time('refunded_at'),
  },
  (table) => [
    check('payments_status', sql`${table.status} in ('success', 'failed')`),
    check('payments_outcome', sql`${table.outcome} in ('parked', 'applied', 'ignored', 'refund_due')`),
    check('payments_refunded', sql`${table.refunded_at} is null or ${table.outcome} = 'refund_due'`),
    index('payments_refunds_open')
      .on(table.outcome)
      .where(sql`${table.outcome} = 'refund_due' and ${table.refunded_at} is null`),
    index('payments_of_order').on(table.order_id),
    index('payments_newest').on(table.created_at.desc(), table.idempotency_key.desc()),
    index('payments_by_outcome').on(table.outcome, table.created_at.desc(), table.idempotency_key.desc()),
  ],
)

export const stock_adjustments = pgTable(
  'stock_adjustments',
  {
    product_id: count('product_id')
      .notNull()
      .references(() => products.id),
    idempotency_key: text('idempotency_key').notNull(),
    delta: count('delta').notNull(),
    reason: text('reason'),
    created_at: time('created_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.product_id, table.idempotency_key] })],
)

/** The epoch of each shard: the one that its Redis must have to be trusted. */
export const shards = pgTable('shards', {
  shard: integer('shard').primaryKey(),
  epoch: count('epoch').notNull(),
  /** Which Redis it was: its run id and replication id. Another one may lack what this one had. */
  redis_identity: text('redis_identity').notNull(),
  /** Since when PostgreSQL is known to lack what it had: what Redis knows of it has to be written again first. */
  behind_since: time('behind_since'),
})

/** Which installation this is, in one row: what tells its Redis and its ids from those of all others. */
export const installation = pgTable(
  'installation',
  {
    is_only: boolean('is_only').primaryKey().default(true),
    id: uuid('id').notNull().defaultRandom(),
  },
  (table) => [check('installation_is_only', sql`${table.is_only}`)],
)

/**
 * How many commits each writer has made. Writers and Redis remember it too: where this is less than they remember, PostgreSQL has
 * come back from the past.
 */
export const writers = pgTable('writers', {
  writer: text('writer').primaryKey(),
  commits: count('commits').notNull(),
  seen_at: time('seen_at').notNull().defaultNow(),
  /** The epochs of the shards that it has open, from shard 0 on, 0 where one is closed. */
  epochs: bigint('epochs', { mode: 'number' }).array().notNull().default([]),
})

/** What can not be told any more since PostgreSQL came back from the past, for an operator to look at. */
export const losses = pgTable('losses', {
  loss: count('loss').primaryKey().generatedAlwaysAsIdentity(),
  shard: integer('shard').notNull(),
  what: text('what').notNull(),
  found_at: time('found_at').notNull().defaultNow(),
})

/** Products that were moved to another shard: the ids of their holds and orders name the one that they left. */
export const product_moves = pgTable('product_moves', {
  move: count('move').primaryKey().generatedAlwaysAsIdentity(),
  product_id: count('product_id')
    .notNull()
    .references(() => products.id),
  from_shard: integer('from_shard').notNull(),
  to_shard: integer('to_shard').notNull(),
  moved_at: time('moved_at').notNull().defaultNow(),
})
