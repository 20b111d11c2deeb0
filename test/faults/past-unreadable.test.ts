import t from 'tap'
import { until } from '../fixtures/until.ts'
import { isWhole } from '../recovery/fixtures/mover.ts'
import { openShop, PAST } from './fixtures/past.ts'
import { isReady } from './fixtures/sale.ts'

/*
  PostgreSQL comes back from the past, and something that Redis would have to tell it can not be read: the rest is told, that is shown
  to an operator, and the shard opens.
*/

for (const [what, spoil] of [
  ['an order', ({ order }) => [`order:${order}`, 'order', 'garbage']],
  [
    'the id of an order',
    ({ order }) => [`order:${order}`, 'order', 'a{b|1-1|paid|confirmed||1:1:1|1|USD|1|1|1|1||'],
  ],
  ['a payment that an order has seen', ({ order }) => [`order:${order}`, 'payment:x', 'a|b|c|d|e|f|g|h|i|{']],
  ['a parked payment', ({ held }) => [`parked_payments:${held}`, 'x', '{']],
] as Array<[string, (ids: { order: string; held: string }) => [string, string, string]]>) {
  t.test(`${what} that can not be read keeps no shard from telling PostgreSQL the rest`, async (t) => {
    const shop = await openShop(t)
    const app = await shop.open()
    const body = { name: 'Shoe', unit_amount: 9900, currency: 'USD', total_stock: 5 }
    const { id } = await app.expect<{ id: number }>(201, app.call('POST', '/api/products', body))
    const spoiled = await app.order(await app.hold(id))
    const held = await app.hold(id)
    await shop.postgres.keep()
    await isReady(app)
    const order = await app.order(await app.hold(id, 2))
    await app.paid(order.order_id, 'success')
    await app.paid(held.order_id, 'success')
    await until('the journal is empty', async () => (await app.journal()) === 0)
    const raw = (one: { order_id: string }) => one.order_id.slice('ord_'.length)
    const [key, field, value] = spoil({ order: raw(spoiled), held: raw(held) })
    await app.redis.hset(`${app.engine.keys.shard(0, 'epoch').slice(0, -'epoch'.length)}${key}`, field, value)
    await shop.postgres.goBack()
    await until('it is noticed', () => app.log.some((line) => PAST.test(line)))
    await until('it is told', () => app.log.some((line) => /was told/.test(line)))
    await isWhole(app)
    t.match(await app.readOrder(order.order_id), { payment_status: 'paid' })
    t.match(await app.stock(id), { held: 1, pending: 1, sold: 2 })
    t.ok(
      app.log.some((line) => /can not be read/.test(line) && line.includes(value)),
      'an operator sees it',
    )
  })
}
