import t, { type Test } from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import { testRedisUrl } from '../fixtures/connect.ts'
import type { Reply } from '../fixtures/http.ts'
import { openWay } from '../fixtures/outage.ts'
import { times, until } from '../fixtures/until.ts'

/** What is promised, and some more because machines are busy. */
const LIMIT_MS = 2_000
const SLACK_MS = 700

t.jobs = 3

/** A service whose way to Redis can fail. */
async function open(t: Test, options: { sweeper?: boolean } = {}) {
  const way = await openWay(t, testRedisUrl())
  const app = await build(t, { ...options, redis_url: way.url })
  t.teardown(() => way.pass())
  const id = await app.product(100)
  const keyed = (path: string, body: object, key: string) =>
    app.call('POST', path, body, { headers: { 'idempotency-key': key } })
  /** Asks again until Redis is trusted again. */
  const insist = (ask: () => Promise<Reply>) =>
    until('another answer than 503', async () => {
      const reply = await ask()
      return reply.status !== 503 && reply
    })
  return { app, way, id, keyed, insist }
}

for (const [words, fail] of [
  ['is down', 'goAway'],
  ['stands still', 'stall'],
  ['answers into the void', 'mute'],
] as const) {
  t.test(
    `while Redis ${words}, everything is answered 503 in time, and goes on by itself afterwards`,
    async (t) => {
      const { app, way, id, insist } = await open(t, { sweeper: true })
      const [hold, other] = [await app.hold(id, 2), await app.hold(id, 3)]
      const order = await app.order(await app.hold(id))
      way[fail]()
      const requests: Array<[string, string, unknown?]> = [
        ['GET', `/api/products/${id}`],
        ['GET', '/api/products'],
        ['GET', `/api/products/${id}/stock`],
        ['GET', `/api/products/${id}/stock/stream`],
        ['POST', '/api/holds', { product_id: id, qty: 1 }],
        ['GET', `/api/holds/${hold.hold_id}`],
        ['POST', `/api/holds/${hold.hold_id}/extend`],
        ['DELETE', `/api/holds/${other.hold_id}`],
        ['POST', '/api/orders', { hold_id: hold.hold_id }],
        ['GET', `/api/orders/${order.order_id}`],
        ['DELETE', `/api/orders/${order.order_id}`],
        [
          'POST',
          '/api/payments/webhook',
          { idempotency_key: newKey(), order_id: order.order_id, status: 'success' },
        ],
        ['GET', '/readyz'],
      ]
      const replies = await Promise.all(requests.map(([method, path, body]) => app.call(method, path, body)))
      for (const [at, reply] of replies.entries()) {
        const [method, path] = requests[at] ?? []
        t.match(reply, { status: 503, body: { code: /^(unavailable|recovering)$/ } }, `${method} ${path}`)
        t.ok(reply.took_ms < LIMIT_MS + SLACK_MS, `after ${Math.round(reply.took_ms)} ms`)
      }
      t.match(replies.at(-1)?.body, { checks: { redis: 'does not answer', postgresql: 'ok' } })
      t.match(await app.call('GET', '/healthz'), { status: 200 })

      way.pass()
      await insist(() => app.call('GET', '/readyz'))
      t.match(await insist(() => app.call('GET', `/api/holds/${hold.hold_id}`)), { status: /^(200|410)$/ })
      t.match(await app.hold(id), { status: 'active' })
      await app.agree(t, 'afterwards')
    },
  )
}

t.test('a hold whose answer was lost is placed once; the retry gets it', async (t) => {
  const { app, way, id, keyed, insist } = await open(t)
  const [body, key] = [{ product_id: id, qty: 2 }, newKey()]
  way.mute()
  t.match(await keyed('/api/holds', body, key), { status: 503 })
  way.pass()
  const reply = await insist(() => keyed('/api/holds', body, key))
  t.match(
    reply,
    { status: 201, headers: { 'idempotency-replayed': 'true' } },
    'the first attempt had its effect',
  )
  t.match(await app.stock(id), { available: 98, held: 2 })
})

t.test('so it is with an order and with a payment', async (t) => {
  const { app, way, id, keyed, insist } = await open(t)
  const hold = await app.hold(id)
  const key = newKey()
  way.mute()
  t.match(await keyed('/api/orders', { hold_id: hold.hold_id }, key), { status: 503 })
  way.pass()
  t.match(await insist(() => keyed('/api/orders', { hold_id: hold.hold_id }, key)), { status: 201 })
  t.match(await app.stock(id), { available: 99, held: 0, pending: 1 })

  way.mute()
  t.match(await app.pay(hold.order_id, 'success', {}, key), { status: 503 })
  way.pass()
  const reply = await insist(() => app.pay(hold.order_id, 'success', {}, key))
  t.match(reply, {
    status: 200,
    body: { data: { outcome: /^(applied|duplicate)$/, order: { payment_status: 'paid' } } },
  })
  t.match(await app.stock(id), { available: 99, pending: 0, sold: 1 })
  await app.agree(t, 'in the end')
})

t.test('holds survive a connection that is cut, and nothing is rebuilt', async (t) => {
  const { app, way, id, insist } = await open(t)
  const holds = await times(5, () => app.hold(id))
  const lines = app.log.filter((line) => line.includes('rebuilding')).length
  for (let count = 0; count < 3; count += 1) {
    way.cut()
    await insist(() => app.call('GET', `/api/holds/${holds[0]?.hold_id}`))
  }
  const replies = await times(5, (at) => app.call('GET', `/api/holds/${holds[at]?.hold_id}`))
  t.same(new Set(replies.map(({ status }) => status)), new Set([200]))
  t.equal(app.log.filter((line) => line.includes('rebuilding')).length, lines)
  await app.agree(t, 'in the end')
})

t.test('a load over a connection that is cut again and again takes each unit once', async (t) => {
  const { app, way, id, keyed, insist } = await open(t, { sweeper: true })
  const buying = times(60, async () => {
    const [hold_key, order_key] = [newKey(), newKey()]
    const hold = await insist(() => keyed('/api/holds', { product_id: id, qty: 1 }, hold_key))
    const { hold_id, order_id } = (hold.body as { data: { hold_id: string; order_id: string } }).data
    const order = await insist(() => keyed('/api/orders', { hold_id }, order_key))
    t.equal(order.status, 201)
    const key = newKey()
    const payment = await insist(() => app.pay(order_id, 'success', {}, key))
    t.equal(payment.status, 200)
  })
  for (let count = 0; count < 4; count += 1) {
    await new Promise((resolve) => setTimeout(resolve, 60))
    way.cut()
  }
  await buying
  t.match(await insist(() => app.call('GET', `/api/products/${id}/stock`)), {
    body: { data: { available: 40, held: 0, pending: 0, sold: 60 } },
  })
  await app.agree(t, 'in the end')
})
