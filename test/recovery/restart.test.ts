import t, { type Test } from 'tap'
import { type App, build } from '../fixtures/app.ts'
import { openRedisServer } from '../fixtures/redis-server.ts'
import { times, until } from '../fixtures/until.ts'

t.jobs = 3

const ALL_ON_DISK = ['--appendonly', 'yes', '--appendfsync', 'always']
const isOpen = (app: App) =>
  until('an open fence', async () => (await app.call('GET', '/readyz')).status === 200)

async function open(t: Test, settings: string[]) {
  const server = await openRedisServer(t, settings)
  const app = await build(t, { redis_at: server.url })
  return { server, app, id: await app.product(100) }
}

t.test('a Redis that was killed and comes back with all it had keeps every hold', async (t) => {
  const { server, app, id } = await open(t, ALL_ON_DISK)
  const holds = await times(10, () => app.hold(id, 2))
  const order = await app.order(await app.hold(id))
  await server.restart()
  await isOpen(app)
  t.match(await app.stock(id), { available: 79, held: 20, pending: 1 })
  const replies = await times(10, (at) => app.call('GET', `/api/holds/${holds[at]?.hold_id}`))
  t.same(new Set(replies.map(({ status }) => status)), new Set([200]))
  t.match(await app.order(holds[0] ?? { hold_id: '' }), { order_status: 'pre-payment' })
  t.match(await app.paid(order.order_id, 'success'), { outcome: 'applied' })
  await app.agree(t, 'afterwards')
})

t.test('a Redis that comes back empty is filled from PostgreSQL', async (t) => {
  const { server, app, id } = await open(t, [])
  const hold = await app.hold(id, 5)
  const order = await app.order(await app.hold(id, 2))
  await app.paid((await app.order(await app.hold(id, 3))).order_id, 'success')
  await server.restart()
  await isOpen(app)
  t.match(await app.stock(id), { available: 95, held: 0, pending: 2, sold: 3 })
  t.ok([404, 410].includes((await app.call('GET', `/api/holds/${hold.hold_id}`)).status))
  t.match(await app.paid(order.order_id, 'success'), { outcome: 'applied' })
  await app.agree(t, 'afterwards')
})

t.test('a Redis that comes back behind PostgreSQL sells nothing a second time', async (t) => {
  const { server, app, id } = await open(t, [])
  const kept = await app.hold(id, 1)
  const ordered = await app.hold(id, 4)
  const unpaid = await app.order(await app.hold(id, 2))
  await app.agree(t, 'before')
  await app.redis.save()
  // From here on Redis will remember nothing.
  await app.order(ordered)
  await app.paid(ordered.order_id, 'success')
  await app.call('DELETE', `/api/orders/${unpaid.order_id}`)
  const late = await app.hold(id, 90)
  await app.paid((await app.order(late)).order_id, 'success')
  await app.agree(t, 'before')

  await server.restart()
  await isOpen(app)
  t.match(await app.stock(id), { available: 5, held: 1, pending: 0, sold: 94 })
  t.match(await app.call('GET', `/api/holds/${kept.hold_id}`), { status: 200 })
  t.match(await app.call('POST', '/api/orders', { hold_id: ordered.hold_id }), { status: 409 })
  t.match(await app.call('POST', '/api/holds', { product_id: id, qty: 6 }), { status: 409 })
  t.match(await app.readOrder(unpaid.order_id), { cancel_reason: 'requested' })
  t.match(await app.order(kept), { order_status: 'pre-payment' })
  await app.agree(t, 'afterwards')
})

t.test('holds for which there are no units any more are dropped, the latest first', async (t) => {
  const { server, app, id } = await open(t, [])
  const holds = [await app.hold(id, 40), await app.hold(id, 40)]
  await app.redis.save()
  for (const { hold_id } of holds.toReversed().slice(0, 1)) await app.call('DELETE', `/api/holds/${hold_id}`)
  await app.paid((await app.order(await app.hold(id, 50))).order_id, 'success')
  await app.agree(t, 'before')
  await server.restart()
  await isOpen(app)
  t.match(await app.stock(id), { available: 10, held: 40, sold: 50 })
  t.match(await app.call('GET', `/api/holds/${holds[0]?.hold_id}`), { status: 200 })
  t.match(await app.call('GET', `/api/holds/${holds[1]?.hold_id}`), { status: 410 })
  await app.agree(t, 'afterwards')
})

t.test('a Redis that loses its scripts is sent them again, and nobody notices', async (t) => {
  const { app, id } = await open(t, [])
  const hold = await app.hold(id)
  await app.redis.script('FLUSH')
  t.match(await app.order(hold), { order_status: 'pre-payment' })
  await app.redis.script('FLUSH')
  const replies = await times(20, () => app.call('POST', '/api/holds', { product_id: id, qty: 1 }))
  t.same(new Set(replies.map(({ status }) => status)), new Set([201]))
  t.match(await app.paid(hold.order_id, 'success'), { outcome: 'applied' })
  await app.agree(t, 'afterwards')
})

t.test('a Redis that is full takes no new holds, but sells, releases and expires those it has', async (t) => {
  const { app, id } = await open(t, [])
  const [first, second, third] = [await app.hold(id), await app.hold(id), await app.hold(id)]
  await app.redis.config('SET', 'maxmemory', '1mb')
  t.match(await app.call('POST', '/api/holds', { product_id: id, qty: 1 }), {
    status: 503,
    body: { code: 'unavailable' },
  })
  t.match(await app.order(first), { order_status: 'pre-payment' })
  t.match(await app.paid(first.order_id, 'success'), { outcome: 'applied' })
  t.match(await app.paid(second.order_id, 'failed'), { outcome: 'parked' })
  t.match(await app.call('DELETE', `/api/holds/${third.hold_id}`), { status: 204 })
  await app.redis.config('SET', 'maxmemory', '0')
  t.match(await app.hold(id), { status: 'active' })
  await app.agree(t, 'afterwards')
})
