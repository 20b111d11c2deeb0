import t from 'tap'
import { build } from '../fixtures/app.ts'
import { isWhole } from './fixtures/mover.ts'

t.test('of who asks for what is sold out nobody asks what he has bought, nor remembers it', async (t) => {
  const app = await build(t)
  const id = await app.product(2, { max_per_customer: 2 })
  const { order_id } = await app.order(await app.hold(id, 2, { customer_id: 'ada' }))
  await app.paid(order_id, 'success')
  await app.redis.unlink(app.engine.keys.shard(0, 'epoch'))
  await isWhole(app)
  await app.sql('alter table order_items rename to away')
  for (const customer_id of ['zoe', 'bob']) {
    const reply = await app.call('POST', '/api/holds', { product_id: id, qty: 1, customer_id })
    t.match(reply, { status: 409, body: { code: 'insufficient_stock', reason: 'sold_out' } })
  }
  t.equal(await app.redis.exists(app.engine.keys.shard(0, 'bought')), 0)
})
