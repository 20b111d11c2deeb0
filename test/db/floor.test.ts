import t, { type Test } from 'tap'
import { type Db, openDb } from '../../src/db/client.ts'
import { upsertOrders } from '../../src/db/orders.ts'
import type { Order } from '../../src/engine/records.ts'
import { createDatabase } from '../fixtures/database.ts'
import { later, orderOf } from '../fixtures/orders.ts'
import { until } from '../fixtures/until.ts'

const database = await createDatabase(t)
const db = open(t)
const FLOOR = { code: '23514', constraint: 'products_floor' }

function open(t: Test): Db {
  const opened = openDb(database.url)
  t.teardown(() => opened.close())
  return opened
}

async function product(total: number): Promise<number> {
  const rows = await database.query<{ id: number }>(
    `insert into products (name, unit_amount, currency, total, shard) values ('Shoe', 100, 'USD', $1, 0) returning id`,
    [total],
  )
  return rows[0]?.id as number
}

const write = (orders: Order[], on = db) =>
  on.transaction((sql) =>
    upsertOrders(
      sql,
      orders.map((order) => ({ shard: 0, order })),
    ),
  )
async function committed(...ids: number[]): Promise<number[]> {
  const rows = await database.query<{ id: number; committed: number }>('select id, committed from products')
  return ids.map((id) => rows.find((row) => row.id === id)?.committed ?? -1)
}

t.test('PostgreSQL counts the units of orders that are not cancelled', async (t) => {
  const [a, b] = [await product(100), await product(100)]
  const order = orderOf([
    [a, 3],
    [b, 4],
  ])
  await write([order])
  t.same(await committed(a, b), [3, 4], 'of each item')
  await write([order])
  t.same(await committed(a, b), [3, 4], 'the same again changes nothing')
  await write([later(order, 'paid')])
  t.same(await committed(a, b), [3, 4], 'a payment moves no units')
  await write([later(order, 'failed', 2)])
  t.same(await committed(a, b), [0, 0], 'a cancellation frees them')
  await write([later(order, 'failed', 2), order].slice(0, 1))
  await write([later(order, 'paid')])
  t.same(await committed(a, b), [0, 0], 'an older version changes nothing')
  await write([later(order, 'paid', 3)])
  t.same(await committed(a, b), [3, 4], 'a late payment takes them again')
})

t.test('an order that is cancelled when it first comes takes none', async (t) => {
  const id = await product(10)
  const order = orderOf([[id, 5]])
  await write([later(order, 'requested')])
  t.same(await committed(id), [0])
  await write([order])
  t.same(await committed(id), [0], 'its beginning, that comes later, changes nothing')
})

t.test('a batch counts everything in it, whatever it is', async (t) => {
  const [a, b] = [await product(100), await product(100)]
  const known = [
    orderOf([[a, 1]]),
    orderOf([
      [a, 2],
      [b, 2],
    ]),
    orderOf([[b, 5]]),
    orderOf([[a, 7]]),
  ] as const
  await write([...known])
  t.same(await committed(a, b), [10, 7])
  await write([later(known[3], 'failed')])
  t.same(await committed(a, b), [3, 7])
  await write([
    later(known[0], 'failed'),
    later(known[1], 'paid'),
    later(known[2], 'requested'),
    later(known[3], 'paid', 2),
    orderOf([
      [b, 10],
      [a, 10],
    ]),
    later(orderOf([[a, 50]]), 'failed'),
  ])
  t.same(await committed(a, b), [3 - 1 + 7 + 10, 7 - 5 + 10])
})

t.test('it refuses to sell more than there is, whatever anybody else believes', async (t) => {
  const [a, b] = [await product(10), await product(10)]
  const first = orderOf([[a, 8]])
  await write([first])
  await t.rejects(write([orderOf([[a, 3]])]), FLOOR)
  await t.rejects(
    write([
      orderOf([
        [b, 5],
        [a, 3],
      ]),
    ]),
    FLOOR,
  )
  await t.rejects(write([orderOf([[b, 5]]), orderOf([[a, 2]]), orderOf([[a, 1]])]), FLOOR)
  t.same(await committed(a, b), [8, 0], 'nothing of a refused batch is there')
  t.same(await database.query('select 1 from order_items where product_id = $1', [b]), [])
  await write([orderOf([[a, 2]])])
  await write([later(first, 'failed')])
  await write([orderOf([[a, 5]])])
  await t.rejects(write([later(first, 'paid', 2)]), FLOOR, 'nor for a late payment')
  t.same(await committed(a), [7])
})

t.test('a total can not be lowered below what is sold', async (t) => {
  const id = await product(10)
  await write([orderOf([[id, 6]])])
  await t.rejects(database.query('update products set total = 5 where id = $1', [id]), FLOOR)
  await database.query('update products set total = 6 where id = $1', [id])
  t.same(await committed(id), [6])
})

/** On a busy machine some wait too long for a connection: nothing was done, so they come again. */
async function patiently(work: () => Promise<unknown>): Promise<void> {
  const again = (error: { code?: string }) =>
    error.code === 'unavailable' ? undefined : Promise.reject(error)
  await until('a connection', () => work().then(() => true, again))
}

t.test('of many writers at once none sells the last units twice', async (t) => {
  const id = await product(20)
  const writers = [db, open(t), open(t)]
  const answers = await Promise.allSettled(
    Array.from({ length: 60 }, (_, at) => patiently(() => write([orderOf([[id, 1]])], writers[at % 3]))),
  )
  t.equal(answers.filter(({ status }) => status === 'fulfilled').length, 20)
  for (const answer of answers) if (answer.status === 'rejected') t.match(answer.reason, FLOOR)
  t.same(await committed(id), [20])
})

t.test('an item has its order and its product, and neither can be deleted from under it', async (t) => {
  const FOREIGN_KEY = { code: '23503' }
  const id = await product(10)
  const order = orderOf([[id, 2]])
  await write([order])
  const item = (order_id: string, product_id: number) =>
    database.query(
      'insert into order_items (order_id, product_id, qty, unit_amount, created_at) values ($1, $2, 1, 1, now())',
      [order_id, product_id],
    )
  await t.rejects(item('ord_unknown', id), FOREIGN_KEY, 'an item without an order')
  await t.rejects(item(`ord_${order.id}`, 999_999_999), FOREIGN_KEY, 'an item without a product')
  await t.rejects(database.query('delete from orders where id = $1', [`ord_${order.id}`]), FOREIGN_KEY)
  await t.rejects(database.query('delete from products where id = $1', [id]), FOREIGN_KEY)
  t.same(await committed(id), [2], 'nothing has changed')

  const unused = await product(1)
  await database.query('delete from products where id = $1', [unused])
  t.same(await committed(unused), [-1], 'what has no items can be deleted')

  await database.query('alter table order_items disable trigger order_items_commit')
  await t.resolves(item('ord_unknown', id), 'control: without the trigger nothing refuses it')
  await database.query(`delete from order_items where order_id = 'ord_unknown'`)
  await database.query('alter table order_items enable trigger order_items_commit')
})
