import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { type App, build, newKey } from '../fixtures/app.ts'
import { keepAlive, type Reply, send } from '../fixtures/http.ts'
import { times, until } from '../fixtures/until.ts'

/** Two processes' worth of service on one Redis and one PostgreSQL. */
const app = await build(t, { sweeper: true })
const beside = await build(t, { beside: app })
const of = (at: number): App => (at % 2 === 0 ? app : beside)

function statuses(replies: Reply[]): Record<number, number> {
  const counts: Record<number, number> = {}
  for (const { status } of replies) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

t.test('of 600 buyers who come at once for 100 units, 100 get one and 500 are told so', async (t) => {
  const id = await app.product(100)
  const replies = await times(600, (at) => of(at).call('POST', '/api/holds', { product_id: id, qty: 1 }))
  t.same(statuses(replies), { 201: 100, 409: 500 })
  for (const { body } of replies.filter(({ status }) => status === 409)) {
    if ((body as { reason: string }).reason !== 'all_held') t.fail('all of them are held')
  }
  t.match(await app.stock(id), { available: 0, held: 100, state: 'all_held' })
  await app.agree(t, 'after the rush')
})

t.test(
  'control: a route that reads the stock and takes from it in a second step sells too much',
  async (t) => {
    const key = `${app.prefix}:naive`
    await app.redis.set(key, 100)
    let readers = 0
    const naive = createServer(async (_request, response) => {
      const is_free = Number(await app.redis.get(key)) >= 1
      readers += 1
      await until('more readers than units', () => readers > 100)
      if (is_free) await app.redis.decr(key)
      response.writeHead(is_free ? 201 : 409).end()
    })
    naive.listen(0, '127.0.0.1')
    await once(naive, 'listening')
    t.teardown(() => naive.close())
    const origin = `http://127.0.0.1:${(naive.address() as AddressInfo).port}`
    const agent = keepAlive()
    const replies = await times(600, () => send(origin, { method: 'POST', path: '/', agent }))
    agent.destroy()
    const sold = statuses(replies)[201] ?? 0
    t.ok(sold > 100, `${sold} of 100 units`)
    t.ok(Number(await app.redis.get(key)) < 0)
  },
)

t.test('of 50 orders from one hold that come at once, one is created', async (t) => {
  const id = await app.product(10)
  for (let round = 0; round < 3; round += 1) {
    const { hold_id } = await app.hold(id, 2)
    const replies = await times(50, (at) => of(at).call('POST', '/api/orders', { hold_id }))
    t.same(statuses(replies), { 201: 1, 409: 49 })
    t.equal(
      (await app.sql('select 1 from orders where id = $1', [`ord_${hold_id.slice('hld_'.length)}`])).length,
      1,
    )
  }
  t.match(await app.stock(id), { available: 4, held: 0, pending: 6 })
  await app.agree(t, 'after the rush')
})

t.test('an order, a release and an extension of one hold at once leave it in one state', async (t) => {
  const id = await app.product(100)
  for (let round = 0; round < 15; round += 1) {
    const { hold_id, order_id } = await app.hold(id, 3)
    const [order, release] = await Promise.all([
      of(round).call('POST', '/api/orders', { hold_id }),
      of(round + 1).call('DELETE', `/api/holds/${hold_id}`),
      of(round).call('POST', `/api/holds/${hold_id}/extend`),
    ])
    const is_ordered = order.status === 201
    t.equal(release.status, is_ordered ? 409 : 204)
    t.equal(order.status, is_ordered ? 201 : 410)
    if (is_ordered) await app.call('DELETE', `/api/orders/${order_id}`)
  }
  t.match(await app.stock(id), { available: 100, held: 0, pending: 0 })
  await app.agree(t, 'after the rush')
})

t.test('of 100 deliveries of one webhook at once one is applied, and the others say so', async (t) => {
  const id = await app.product(10)
  const order = await app.order(await app.hold(id, 2))
  const key = newKey()
  const answers = await times(100, (at) => of(at).paid(order.order_id, 'success', {}, key))
  t.equal(answers.filter(({ outcome }) => outcome === 'applied').length, 1)
  t.equal(answers.filter((one) => one.outcome === 'duplicate' && one.first_outcome === 'applied').length, 99)
  t.match(await app.stock(id), { available: 8, pending: 0, sold: 2 })
  await app.agree(t, 'after the rush')
})

t.test('a webhook that comes together with its order is applied, before or after', async (t) => {
  const id = await app.product(100)
  for (let round = 0; round < 15; round += 1) {
    const hold = await app.hold(id)
    const status = round % 2 === 0 ? 'success' : 'failed'
    await Promise.all([of(round).order(hold), of(round + 1).paid(hold.order_id, status)])
    t.match(await app.readOrder(hold.order_id), { payment_status: status === 'success' ? 'paid' : 'failed' })
  }
  t.match(await app.stock(id), { available: 92, held: 0, pending: 0, sold: 8 })
  await app.agree(t, 'after the rush')
})

t.test(
  'a cancellation and a payment at once: the money is either kept for the order or due for refund',
  async (t) => {
    const id = await app.product(100)
    let confirmed = 0
    for (let round = 0; round < 15; round += 1) {
      const { order_id } = await app.order(await app.hold(id))
      const [cancel, payment] = await Promise.all([
        of(round).call('DELETE', `/api/orders/${order_id}`),
        of(round + 1).paid(order_id, 'success'),
      ])
      const is_paid = cancel.status === 409
      confirmed += is_paid ? 1 : 0
      t.equal(payment.outcome, is_paid ? 'applied' : 'refund_due')
      t.match(await app.readOrder(order_id), { order_status: is_paid ? 'confirmed' : 'cancelled' })
    }
    t.match(await app.stock(id), { available: 100 - confirmed, pending: 0, sold: confirmed })
    await app.agree(t, 'after the rush')
  },
)

t.test(
  'a whole sale at once, with short holds and every kind of payment, loses and invents no unit',
  async (t) => {
    const id = await app.product(60, { hold_ttl_ms: 1_000 })
    await times(200, async (at) => {
      const service = of(at)
      const reply = await service.call('POST', '/api/holds', { product_id: id, qty: 1 + (at % 3) })
      if (reply.status !== 201 || at % 5 === 0) return
      const { data } = reply.body as { data: { hold_id: string; order_id: string } }
      if (at % 5 === 1) return service.call('DELETE', `/api/holds/${data.hold_id}`)
      if (at % 5 === 2) await service.pay(data.order_id, at % 2 === 0 ? 'success' : 'failed')
      await service.call('POST', '/api/orders', { hold_id: data.hold_id })
      if (at % 5 === 3) return service.pay(data.order_id, 'failed')
      return service.pay(data.order_id, 'success')
    })
    const stock = await app.stock(id)
    t.equal(stock.available + stock.held + stock.pending + stock.sold, 60)
    t.ok(stock.sold > 0)
    await app.agree(t, 'after the sale')
  },
)
