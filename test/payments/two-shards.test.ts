import t from 'tap'
import { type App, build, newKey } from '../fixtures/app.ts'
import type { Reply } from '../fixtures/http.ts'
import type { OrderBody } from '../fixtures/resources.ts'
import { until } from '../fixtures/until.ts'

const ROUNDS = 4

t.test('one key for orders in two shards at the same moment pays for one of them', async (t) => {
  const env = { STOCK_SHARDS: '2' }
  const app = await build(t, { env })
  const beside = await build(t, { env, beside: app })
  const products = [await app.product(20, { shard: 0 }), await app.product(20, { shard: 1 })] as const
  for (const [shard, id] of products.entries()) beside.engine.knowProduct(id, shard, null)
  // A process that did not rebuild a shard itself hears of it when it asks.
  const isOpen = async () => {
    await Promise.all([app, beside].map(({ engine }) => engine.probe()))
    return [app, beside].every(({ engine }) => engine.fence.isOpen(0) && engine.fence.isOpen(1))
  }
  let raced = 0
  for (let round = 0; round < ROUNDS; round += 1) {
    // In one process both come to PostgreSQL in one batch, in two processes one after the other.
    const doors = round % 2 === 0 ? [app, app] : [app, beside]
    await until('both are open', isOpen)
    const orders: OrderBody[] = []
    for (const id of products) orders.push(await app.order(await app.hold(id)))
    const key = newKey()
    const alarms = () => [app, beside].flatMap(({ log }) => log).filter((line) => line.includes(key)).length
    const pay = async (at: number): Promise<Reply> => {
      for (;;) {
        const reply = await (doors[at] as App).pay(orders[at]?.order_id ?? '', 'success', {}, key)
        if (reply.status !== 503) return reply
      }
    }
    const replies = await Promise.all([pay(0), pay(1)])
    if (alarms() > 0) raced += 1
    t.same(replies.map(({ status }) => status).sort(), [200, 422], 'one of them is refused')
    const paid = orders[replies.findIndex(({ status }) => status === 200)]
    await until('both are open', isOpen)
    for (const { order_id } of orders) {
      const wanted = order_id === paid?.order_id ? 'paid' : 'pending'
      t.equal((await app.readOrder(order_id)).payment_status, wanted, `it is ${wanted}`)
      const [row] = await app.sql<{ payment_status: string }>(
        'select payment_status from orders where id = $1',
        [order_id],
      )
      t.equal(row?.payment_status, wanted, 'in PostgreSQL too')
    }
    await app.agree(t, 'afterwards')
  }
  t.ok(raced > 0, `both shards had applied it ${raced} times, and one of them was undone`)
})
