import t, { type Test } from 'tap'
import { type Db, openDb } from '../../src/db/client.ts'
import { findOrders, knownOrderIds, orderIdsUnpaid, unpaidOrders, upsertOrders } from '../../src/db/orders.ts'
import { findPayments, parkedPayments, paymentsOfOrders, upsertPayments } from '../../src/db/payments.ts'
import { auditCommitted, boughtBefore, productsOfShard } from '../../src/db/products.ts'
import type { Order, Payment } from '../../src/engine/records.ts'
import { createDatabase, type Database } from '../fixtures/database.ts'
import { later, orderOf } from '../fixtures/orders.ts'

/*
  A connection keeps the plan of what it has prepared. One that was made while a table was small may go through the whole
  table, which costs a batch more with every row there is.
*/

const BATCH = 20
const MANY = 4_000

/** One connection, and a database with a product. */
async function open(t: Test): Promise<{ db: Db; database: Database }> {
  const database = await createDatabase(t)
  await database.query(
    `insert into products (id, name, unit_amount, currency, total, shard) values (1, 'Shoe', 100, 'USD', 100000, 0)`,
  )
  const db = openDb(database.url, { max_connections: 1, patience_ms: 10_000 })
  t.teardown(() => db.close())
  return { db, database }
}

/** Rows of orders, items and payments that were read so far, by whatever way. */
async function rowsRead({ db, database }: { db: Db; database: Database }): Promise<number> {
  await db.use((sql) => sql.query('select pg_stat_force_next_flush()'))
  const [counted] = await database.query<{ rows: number }>(
    `select (select sum(seq_tup_read) from pg_stat_user_tables where relname = any($1))::int
      + (select sum(idx_tup_read) from pg_stat_user_indexes where relname = any($1))::int as rows`,
    [['orders', 'order_items', 'payments']],
  )
  return counted?.rows ?? Number.NaN
}

/** How many rows `work` reads. */
async function reads(opened: { db: Db; database: Database }, work: () => Promise<void>): Promise<number> {
  const before = await rowsRead(opened)
  await work()
  return (await rowsRead(opened)) - before
}

const newOrders = (count: number) => Array.from({ length: count }, () => orderOf([[1, 1]]))
const write = (db: Db, orders: Order[]) =>
  db.transaction((sql) =>
    upsertOrders(
      sql,
      orders.map((order) => ({ shard: 0, order })),
    ),
  )
const paymentOf = (order: Order): Payment => ({
  idempotency_key: `key-${order.id}`,
  order_id: order.id,
  status: 'success',
  amount: order.amount,
  currency: order.currency,
  payment_method: null,
  transaction_id: null,
  outcome: 'applied',
  first_outcome: 'applied',
  reason: null,
  created_at_ms: order.created_at_ms,
  seq: 0,
})

const placed = (payment: Payment) => ({ shard: 0, payment })

async function writeAndCancel(db: Db): Promise<void> {
  for (let at = 0; at < 10; at += 1) {
    const orders = newOrders(BATCH)
    await write(db, orders)
    await write(
      db,
      orders.map((order) => later(order, 'failed')),
    )
  }
}

for (const [when, known] of [
  ['nothing is known of its tables', undefined],
  ['its tables are known to be empty', 0],
  ['its tables are known to have one order', 1],
] as const) {
  t.test(`to write orders costs the same however many there are: ${when} at first`, async (t) => {
    const opened = await open(t)
    if (known) await write(opened.db, newOrders(known))
    if (known !== undefined) await opened.database.query('analyze')
    const at_first = await reads(opened, () => writeAndCancel(opened.db))
    t.ok(at_first < 20 * BATCH * 10, `${at_first} rows`)
    const later_on = await reads(opened, () => writeAndCancel(opened.db))
    t.ok(later_on <= at_first, `${at_first} rows at first, then ${later_on}`)
  })
}

t.test('control: with the plans of an empty table it costs more with every order', async (t) => {
  const opened = await open(t)
  await opened.database.query(
    'alter function commit_inserted_items() reset all; alter function commit_updated_orders() reset all',
  )
  const at_first = await reads(opened, () => writeAndCancel(opened.db))
  t.ok((await reads(opened, () => writeAndCancel(opened.db))) > 2 * at_first)
})

t.test('to find orders and payments costs the same however many there are', async (t) => {
  const opened = await open(t)
  const { db, database } = opened
  const orders = newOrders(BATCH)
  const ids = orders.map(({ id }) => id)
  const payments = orders.map(paymentOf)
  const keys = payments.map(({ idempotency_key }) => idempotency_key)
  const lookUp = async () => {
    for (let at = 0; at < 10; at += 1) {
      const found = await db.use(async (sql) => [
        await findOrders(sql, ids),
        await knownOrderIds(sql, ids),
        await findPayments(sql, keys),
        await paymentsOfOrders(sql, ids),
      ])
      for (const rows of found) t.equal(rows.length, BATCH)
    }
  }
  await write(db, orders)
  await db.use((sql) => upsertPayments(sql, payments.map(placed)))
  await database.query('analyze')
  const at_first = await reads(opened, lookUp)

  const others = newOrders(MANY)
  await write(db, others)
  await db.use((sql) => upsertPayments(sql, others.map(paymentOf).map(placed)))
  t.equal(await reads(opened, lookUp), at_first)
})

for (const when of ['nothing is known of its tables', 'its tables are known']) {
  t.test(`to rebuild a shard reads no order that is over: ${when}`, async (t) => {
    const opened = await open(t)
    const { db, database } = opened
    const customers = newOrders(BATCH).map((order, at) => ({ ...order, customer_id: `c${at}` }))
    await write(db, customers)
    await db.use((sql) => upsertPayments(sql, customers.map(paymentOf).map(placed)))
    const buyers = customers.map(({ customer_id }) => ({ product_id: 1, customer_id }))
    // On a connection of its own, as whoever has the lock of a shard.
    const rebuild = () =>
      db.locked([1], async (sql) => {
        for (let at = 0; at < 10; at += 1) {
          const [product] = await productsOfShard(sql, 0)
          t.match(product, { pending: BATCH })
          const page = await unpaidOrders(sql, 0, '', BATCH)
          t.equal((await unpaidOrders(sql, 0, page[1]?.id ?? '', BATCH)).length, BATCH - 2)
          t.equal((await orderIdsUnpaid(sql, 0)).length, BATCH)
          t.equal((await parkedPayments(sql, 0)).length, 0)
          t.same(
            await boughtBefore(sql, buyers, 9),
            buyers.map(() => 0),
          )
        }
        await sql.query('select pg_stat_force_next_flush()')
      })
    const many = async () => {
      const over = newOrders(MANY).map((order) => later(order, 'paid'))
      await write(db, over)
      await db.use((sql) => upsertPayments(sql, over.map(paymentOf).map(placed)))
    }
    if (when.includes('are known')) {
      await many()
      await database.query('analyze')
    }
    const at_first = await reads(opened, rebuild)
    await many()
    const later_on = await reads(opened, rebuild)
    t.ok(later_on <= 1.1 * at_first, `${at_first} rows at first, then ${later_on}`)
  })
}

t.test('the audit counts orders anew, without a plan that takes an index for each', async (t) => {
  const { db, database } = await open(t)
  await write(db, newOrders(MANY))
  await write(
    db,
    newOrders(BATCH).map((order) => later(order, 'failed')),
  )
  await database.query('analyze')
  const audit = () => db.transaction((sql) => auditCommitted(sql, 0))
  t.same(await audit(), [{ id: 1, committed: MANY, ordered: MANY }])
  await database.query('update products set committed = committed - 1')
  t.same(await audit(), [{ id: 1, committed: MANY - 1, ordered: MANY }])
  t.match(await db.use((sql) => sql.query('show enable_seqscan')), { rows: [{ enable_seqscan: 'off' }] })
  t.match(await db.use((sql) => sql.query('show jit')), { rows: [{ jit: 'off' }] })
})
