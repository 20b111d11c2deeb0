import t, { type Test } from 'tap'
import { until } from '../fixtures/until.ts'
import { isWhole } from '../recovery/fixtures/mover.ts'
import { openShop } from './fixtures/past.ts'
import { isReady } from './fixtures/sale.ts'

/*
  A rebuild has begun to forget what PostgreSQL knows better, when PostgreSQL dies, and another one comes that lacks the last commits.
*/

/** @param after the first statement of the rebuild that gets no answer any more */
const breakOff =
  (after: string) =>
  async (t: Test): Promise<void> => {
    const shop = await openShop(t)
    const app = await shop.open()
    const create = (name: string) =>
      app.expect<{ id: number }>(
        201,
        app.call('POST', '/api/products', { name, unit_amount: 9900, currency: 'USD', total_stock: 5 }),
      )
    const { id } = await create('Shoe')
    await shop.postgres.keep()
    await isReady(app)
    const lost = await create('Boot')
    const order = await app.order(await app.hold(id, 2))
    const other = await app.order(await app.hold(lost.id))
    const held = await app.hold(id)
    await app.paid(held.order_id, 'success')
    await until('the journal is empty', async () => (await app.journal()) === 0)
    shop.way.freezeAfter(after, 0)
    await app.redis.unlink(app.engine.keys.shard(0, 'epoch'))
    await app.engine.probe()
    await until('it has come so far', () => shop.way.hasFrozen())
    await shop.postgres.goBack()
    shop.way.cut()
    shop.way.freezeAfter('nothing at all', 1)
    await until('it is open', () => app.engine.fence.isOpen(0), 30_000)
    await isWhole(app)
    for (const { order_id } of [order, other]) {
      t.match(await app.readOrder(order_id), { payment_status: 'pending' })
      t.match(await app.paid(order_id, 'success'), { outcome: 'applied' })
    }
    t.match(await app.stock(id), { available: 2, held: 1, sold: 2 })
    t.match(await app.stock(lost.id), { available: 4, sold: 1 })
    t.match(await app.order(held), { payment_status: 'paid' }, 'what was paid before its order is known')
  }

for (const [what, statement] of [
  ['before it reads products', 'products-of-shard'],
  ['before it reads parked payments', 'parked-payments'],
  ['before it reads unpaid orders', 'unpaid-orders'],
] as const) {
  t.test(
    `what Redis knew is told a PostgreSQL that takes over from one that died ${what}`,
    breakOff(statement),
  )
}
