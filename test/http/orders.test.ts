import t from 'tap'
import { build } from '../fixtures/app.ts'
import type { OrderBody } from '../fixtures/resources.ts'

const app = await build(t)

t.test('a hold becomes an order that waits for its payment', async (t) => {
  const id = await app.product(10)
  const hold = await app.hold(id, 2, { customer_id: 'c-17' })
  const reply = await app.call('POST', '/api/orders', { hold_id: hold.hold_id })
  t.equal(reply.status, 201)
  const { data } = reply.body as { data: OrderBody }
  const { created_at, pay_by } = data
  t.same(data, {
    ...{ order_id: hold.order_id, hold_id: hold.hold_id, product_id: id, qty: 2, created_at, pay_by },
    items: [{ product_id: id, qty: 2, unit_amount: 9900 }],
    ...{ amount: 19_800, currency: 'USD', customer_id: 'c-17' },
    ...{ payment_status: 'pending', order_status: 'pre-payment', cancel_reason: null },
  })
  t.equal(Date.parse(pay_by) - Date.parse(created_at), 900_000)
  t.equal(reply.headers.location, `/api/orders/${data.order_id}`)
  t.same((await app.call('GET', reply.headers.location as string)).body, { data })
  t.match(await app.stock(id), { available: 8, held: 0, pending: 2, sold: 0 })
})

t.test('a cart becomes an order of several items', async (t) => {
  const products = [await app.product(5), await app.product(5, { unit_amount: 1 })]
  const items = products.map((product_id, at) => ({ product_id, qty: at + 1 }))
  const { body } = await app.call('POST', '/api/holds', { items })
  const order = await app.order((body as { data: { hold_id: string } }).data)
  t.match(order, {
    product_id: null,
    qty: null,
    amount: 9902,
    items: [{ qty: 1 }, { qty: 2, unit_amount: 1 }],
  })
  await app.paid(order.order_id, 'success')
  t.match(await app.stock(products[1] as number), { available: 3, sold: 2 })
  await app.agree(t, 'after the cart')
})

t.test('a hold becomes an order once', async (t) => {
  const id = await app.product(10)
  const hold = await app.hold(id)
  const { order_id } = await app.order(hold)
  t.match(await app.call('POST', '/api/orders', { hold_id: hold.hold_id }), {
    status: 409,
    body: { code: 'hold_already_used', order_id },
  })
  await app.paid(order_id, 'success')
  t.match(
    await app.call('POST', '/api/orders', { hold_id: hold.hold_id }),
    { status: 409 },
    'also when it is paid',
  )
  t.match(await app.stock(id), { available: 9, pending: 0, sold: 1 })
})

t.test('the price of the hold counts, whatever the product costs by now', async (t) => {
  const id = await app.product(10, { unit_amount: 500 })
  const hold = await app.hold(id)
  await app.redis.hset(app.engine.keys.shard(0, 'products'), `${id}:unit_amount`, 700)
  t.match(await app.order(hold), { amount: 500 })
  t.match(await app.hold(id), { amount: 700 })
})

t.test('a hold that lives may become an order after the sale was paused', async (t) => {
  const id = await app.product(10)
  const hold = await app.hold(id)
  await app.redis.hset(app.engine.keys.shard(0, 'products'), `${id}:paused`, 1)
  t.match(await app.order(hold), { order_status: 'pre-payment' })
})

t.test('an unpaid order can be cancelled; its units are free at once', async (t) => {
  const id = await app.product(10)
  const order = await app.order(await app.hold(id, 4))
  const path = `/api/orders/${order.order_id}`
  const cancelled = { ...order, order_status: 'cancelled', cancel_reason: 'requested' }
  t.same(await app.expect(200, app.call('DELETE', path)), cancelled, 'the payment stays pending')
  t.match(await app.stock(id), { available: 10, pending: 0 })
  t.match(await app.call('DELETE', path), { status: 409, body: { code: 'order_not_pending' } })
  t.match(await app.stock(id), { available: 10 }, 'again: no units')
  t.same(await app.readOrder(order.order_id), cancelled)
  t.match(await app.call('GET', `/api/holds/${order.hold_id}`), { body: { data: { status: 'ordered' } } })
})

t.test('a paid order and a failed one can not be cancelled', async (t) => {
  const id = await app.product(10)
  for (const status of ['success', 'failed']) {
    const { order_id } = await app.order(await app.hold(id))
    await app.paid(order_id, status)
    t.match(await app.call('DELETE', `/api/orders/${order_id}`), {
      status: 409,
      body: { code: 'order_not_pending' },
    })
  }
  t.match(await app.stock(id), { available: 9, sold: 1 })
})

t.test('an order that Redis has forgotten is read, cancelled and refused from PostgreSQL', async (t) => {
  const id = await app.product(10)
  const order = await app.order(await app.hold(id))
  await app.agree(t, 'before')
  const forget = () => app.redis.del(app.engine.keys.id(0, 'order', order.order_id.slice(4)))
  await forget()
  t.same(await app.readOrder(order.order_id), order)
  t.match(await app.call('GET', `/api/holds/${order.hold_id}`), {
    status: 200,
    body: { data: { status: 'ordered' } },
  })
  const used = { status: 409, body: { code: 'hold_already_used', order_id: order.order_id } }
  t.match(await app.call('POST', '/api/orders', { hold_id: order.hold_id }), used)
  t.match(await app.call('DELETE', `/api/holds/${order.hold_id}`), used)
  t.match(await app.call('POST', `/api/holds/${order.hold_id}/extend`), used)
  t.match(await app.call('DELETE', `/api/orders/${order.order_id}`), { status: 200 })
  await app.agree(t, 'after it came back and was cancelled')
})

t.test('an order that never was is not found', async (t) => {
  for (const id of [
    'nonsense',
    `ord_${'A'.repeat(16)}fffffffffff0`,
    `ord_${'A'.repeat(16)}018f00000000`,
    `hld_${'A'.repeat(16)}fffffffffff0`,
  ]) {
    t.match(
      await app.call('GET', `/api/orders/${id}`),
      { status: 404, body: { code: 'order_not_found' } },
      id,
    )
    t.match(await app.call('DELETE', `/api/orders/${id}`), { status: 404, body: { code: 'order_not_found' } })
  }
})
