import t from 'tap'
import { ensureProduct } from '../../src/db/seed.ts'
import type { App } from '../fixtures/app.ts'
import type { ProductBody } from '../fixtures/resources.ts'
import { until } from '../fixtures/until.ts'
import { checkBoth, openShop, PAST, type Shop } from './fixtures/past.ts'
import { isReady } from './fixtures/sale.ts'
import { verify } from './fixtures/verify.ts'

/*
  Products that an admin was told are there, in a PostgreSQL that loses what was committed last. What takes it less than the second
  between two looks is done by hand, in one transaction: rows go, and with them the counts of whoever wrote them.
*/

type Query = Shop['postgres']['database']['query']
type Counted = { writer: string; commits: number }

const create = (by: App, name: string, total_stock = 5) =>
  by.call('POST', '/api/products', { name, unit_amount: 100, currency: 'USD', total_stock })
const rename = (by: App, id: number, name: string) => by.call('PATCH', `/api/products/${id}`, { name })

const readCounts = (query: Query) => query<Counted>('select writer, commits from writers')

/** PostgreSQL is again as it was when these were the counts, but for what this statement undoes. */
const undo = (query: Query, statement: string, counts: Counted[]) =>
  query(
    `with undone as (${statement} returning 1), gone as (delete from writers where writer <> all($1::text[]))
      update writers set commits = was.commits from unnest($1::text[], $2::bigint[]) as was (writer, commits)
        where writers.writer = was.writer`,
    [counts.map(({ writer }) => writer), counts.map(({ commits }) => commits)],
  )

for (const [what, is_told] of [
  ['another process does not take what an admin changed for what it was before', true],
  ['control: it does where Redis was told of no commits', false],
] as const) {
  t.test(what, async (t) => {
    const shop = await openShop(t)
    const { query } = shop.postgres.database
    const [app, other] = [await shop.open(), await shop.open()]
    const { id } = await app.expect<ProductBody>(201, create(app, 'Shoe'))
    t.match(await rename(other, id, 'Shoe'), { status: 200 }, 'both know their way')
    // The one dies, and the other does not come to look again.
    await app.service.recovery.close()
    await other.service.recovery.close()
    const counts = await readCounts(query)
    const added = await app.expect<ProductBody>(201, create(app, 'Lost'))
    t.match(await rename(app, id, 'Boot'), { status: 200 })
    await undo(query, `delete from products where id = ${added.id}`, counts)
    await query(`update products set name = 'Shoe', terms_version = 2, loaded_version = 2 where id = ${id}`)
    await query(`select setval('products_id_seq', ${id})`)
    if (!is_told) await shop.server.redis.del(app.engine.keys.shard(0, 'commits'))
    const replies = [await create(other, 'Next'), await rename(other, id, 'Sandal')]
    if (is_told) {
      t.match(replies, [{ status: 503 }, { status: 503 }])
      t.notOk(other.engine.fence.isOpen(0), 'its fence closes')
      const next = await shop.open()
      t.match(await next.readProduct(added.id), { name: 'Lost', stock: { total: 5 } })
      t.match(await next.readProduct(id), { name: 'Boot' })
      await checkBoth(t, next, 'afterwards')
    } else {
      t.match(replies, [{ status: 201, body: { data: { id: added.id } } }, { status: 200 }])
    }
  })
}

t.test('a product that the seed made is not lost unnoticed', async (t) => {
  const shop = await openShop(t)
  const { query } = shop.postgres.database
  const app = await shop.open()
  const counts = await readCounts(query)
  t.ok(await ensureProduct(shop.urls.database_url, 1))
  await until('it is on sale', async () => (await app.call('GET', '/api/products/1')).status === 200)
  await undo(query, 'delete from products', counts)
  await until('it is noticed', () => app.log.some((line) => PAST.test(line)), 5_000)
  await isReady(app)
  t.match(await app.readProduct(1), { stock: { total: 100 } })
  await app.order(await app.hold(1))
  await checkBoth(t, app, 'afterwards')
})

t.test(
  'what is seeded into a PostgreSQL from the past does not replace the product that it lost',
  async (t) => {
    const shop = await openShop(t)
    const app = await shop.open()
    await shop.postgres.keep()
    await isReady(app)
    const { id } = await app.expect<ProductBody>(201, create(app, 'Boot', 7))
    t.equal(id, 1)
    const order = await app.order(await app.hold(id, 2))
    await until('the journal is empty', async () => (await app.journal()) === 0)
    await app.close()
    await shop.postgres.goBack()
    t.ok(await ensureProduct(shop.urls.database_url, 1))
    const next = await shop.open()
    t.match(await next.readProduct(id), { name: 'Boot', unit_amount: 100, stock: { total: 7, pending: 2 } })
    t.match(await next.readOrder(order.order_id), { order_status: 'pre-payment' })
    t.match(await rename(next, id, 'Shoe'), { status: 200, body: { data: { name: 'Shoe' } } })
    await checkBoth(t, next, 'afterwards')
    const { output } = await verify(shop.urls)
    t.match(output, /lost, shard 0, found \S+: PostgreSQL had product 1 as .*Flash sale product/)
  },
)

t.test(
  'a product that is being created, as far as PostgreSQL knows, can be changed when it is told',
  async (t) => {
    const shop = await openShop(t)
    const { query } = shop.postgres.database
    const app = await shop.open()
    const counts = await readCounts(query)
    const { id } = await app.expect<ProductBody>(201, create(app, 'Shoe'))
    await undo(query, `update products set loaded_version = 0 where id = ${id}`, counts)
    await until('it is noticed', () => app.log.some((line) => PAST.test(line)), 5_000)
    await isReady(app)
    t.match(await rename(app, id, 'Boot'), { status: 200 })
    await checkBoth(t, app, 'afterwards')
  },
)

t.test('terms are not changed while the shard of the product still has to be heard', async (t) => {
  const shop = await openShop(t)
  const { query } = shop.postgres.database
  const app = await shop.open()
  const { id } = await app.expect<ProductBody>(201, create(app, 'Shoe'))
  await app.service.recovery.close()
  await query('update shards set behind_since = now()')
  t.match(await rename(app, id, 'Boot'), { status: 503 })
  t.same(await query('select name from products'), [{ name: 'Shoe' }])
  await query('update shards set behind_since = null')
  t.match(await rename(app, id, 'Boot'), { status: 200 })
})
