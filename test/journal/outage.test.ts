import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { idEnd } from '../../src/engine/ids.ts'
import { type App, build, newKey } from '../fixtures/app.ts'
import type { Reply } from '../fixtures/http.ts'
import { openWay } from '../fixtures/outage.ts'
import type { HoldBody } from '../fixtures/resources.ts'
import { times, until } from '../fixtures/until.ts'

/** Within this an order is refused, and within the other everything is answered; more only because machines are busy. */
const ORDER_LIMIT_MS = 2_000
const LIMIT_MS = 3_000
const SLACK_MS = 700

// They wait far more than they work.
t.jobs = 4

/** The id of an order that has not come. */
const newOrderId = (app: App) =>
  `ord_${randomBytes(12).toString('base64url')}fffffffffff${idEnd(0, app.engine.installation)}`

/** A service whose way to PostgreSQL can fail. */
async function open(t: Test, options: { sweeper?: boolean } = {}) {
  const ways: Array<Awaited<ReturnType<typeof openWay>>> = []
  const app = await build(t, {
    ...options,
    database_url: async ({ url }) => {
      ways.push(await openWay(t, url))
      return ways[0]?.url ?? ''
    },
  })
  const way = ways[0]
  if (!way) throw new Error('there is no way')
  // Before all else at the end: what waits for PostgreSQL must not hold up the teardown.
  t.teardown(() => way.pass())
  const id = await app.product(100)
  const order = (hold: { hold_id: string }, key = newKey()) =>
    app.call('POST', '/api/orders', { hold_id: hold.hold_id }, { headers: { 'idempotency-key': key } })
  return { app, way, id, order }
}

function isUnavailable(t: Test, reply: Reply, limit_ms: number, what: string): void {
  t.match(reply, { status: 503, body: { code: 'unavailable' }, headers: { 'retry-after': /^\d+$/ } }, what)
  t.ok(reply.took_ms < limit_ms + SLACK_MS, `${what}: answered after ${Math.round(reply.took_ms)} ms`)
}

for (const [words, fail] of [
  ['is down', 'goAway'],
  ['stands still', 'stall'],
  ['answers into the void', 'mute'],
] as const) {
  t.test(`while PostgreSQL ${words}, holds and reads go on and orders get 503`, async (t) => {
    const { app, way, id, order } = await open(t)
    const [first, second] = [await app.hold(id, 2), await app.hold(id, 2)]
    const unpaid = await app.order(await app.hold(id))
    await app.agree(t, 'before')
    way[fail]()

    const key = newKey()
    isUnavailable(t, await order(first, key), ORDER_LIMIT_MS, 'an order')
    const payment = { idempotency_key: newKey(), order_id: unpaid.order_id, status: 'success' }
    const [hold, read, stock, released, ...refused] = await Promise.all([
      app.call('POST', '/api/holds', { product_id: id, qty: 1 }),
      app.call('GET', `/api/products/${id}`),
      app.call('GET', `/api/products/${id}/stock`),
      app.call('DELETE', `/api/holds/${second.hold_id}`),
      app.call('POST', '/api/payments/webhook', payment),
      app.call('DELETE', `/api/orders/${unpaid.order_id}`),
      app.call('GET', '/readyz'),
    ])
    t.same(
      [hold, read, stock, released].map(({ status }) => status),
      [201, 200, 200, 204],
    )
    for (const one of [hold, read, stock, released])
      t.ok(one.took_ms < 1_000, `${Math.round(one.took_ms)} ms`)
    for (const [at, one] of refused.entries())
      isUnavailable(t, one, LIMIT_MS, ['a payment', 'a cancellation', 'readiness'][at] ?? '')
    t.match(refused.at(-1)?.body, { checks: { postgresql: 'does not answer', redis: 'ok' } })
    t.match(await app.call('GET', '/healthz'), { status: 200 })

    way.pass()
    const again = await until('the order', async () => {
      const reply = await order(first, key)
      return reply.status !== 503 && reply
    })
    t.match(again, { status: 201, body: { data: { hold_id: first.hold_id, qty: 2 } } })
    t.equal((await app.sql('select 1 from orders where id = $1', [first.order_id])).length, 1)
  })
}

t.test(
  'requests that come one after the other while it stands still wait no longer than one alone',
  async (t) => {
    const { app, way, id, order } = await open(t)
    const holds = await times(20, () => app.hold(id))
    way.stall()
    const waits: Array<Promise<Reply>> = []
    for (const hold of holds) {
      waits.push(
        order(hold),
        app.pay(hold.order_id, 'success'),
        app.call('GET', `/api/orders/${newOrderId(app)}`),
      )
      waits.push(app.call('GET', '/api/products'))
      await wait(100)
    }
    const replies = await Promise.all(waits)
    const slowest_ms = Math.max(...replies.map(({ took_ms }) => took_ms))
    t.ok(slowest_ms < LIMIT_MS + SLACK_MS, `the slowest took ${Math.round(slowest_ms)} ms`)
    way.pass()
  },
)

t.test('while it is slow, every answer still comes in time', async (t) => {
  const { app, way, id, order } = await open(t)
  const holds = await times(10, () => app.hold(id))
  // As many connections as there can be: none has to be made while all is slow.
  await times(8, () => app.service.db.use((sql) => sql.query('select pg_sleep(0.05)')))
  way.slow(700)
  const waits: Array<Promise<Reply>> = []
  for (const [at, hold] of holds.entries()) {
    if (at % 2 === 0) waits.push(app.pay(hold.order_id, 'success'), app.pay(newOrderId(app), 'success'))
    waits.push(order(hold), app.call('GET', '/api/products'), app.call('GET', '/readyz'))
    await wait(50)
  }
  const replies = await Promise.all(waits)
  t.same(
    new Set(replies.map(({ status }) => status).filter((status) => ![200, 201, 202].includes(status))),
    new Set([503]),
  )
  const slowest_ms = Math.max(...replies.map(({ took_ms }) => took_ms))
  t.ok(slowest_ms < LIMIT_MS + SLACK_MS, `the slowest took ${Math.round(slowest_ms)} ms`)
  way.pass()
})

t.test('what was left undone is done by a sweeper once PostgreSQL is back, without any retry', async (t) => {
  const { app, way, id, order } = await open(t, { sweeper: true })
  const holds = await times(5, () => app.hold(id))
  const paid = await app.order(await app.hold(id))
  way.stall()
  const refused = await Promise.all(holds.map((hold) => order(hold)))
  t.same(new Set(refused.map(({ status }) => status)), new Set([503]))
  t.match(await app.stock(id), { pending: 6 }, 'in Redis they are orders')
  t.equal(await app.journal(), 5)
  way.pass()
  await app.agree(t, 'a while later')
  t.equal(
    (await app.sql('select 1 from orders where id = any($1)', [holds.map((hold) => hold.order_id)])).length,
    5,
  )
  t.match(await app.paid(paid.order_id, 'success'), { outcome: 'applied' })
})

t.test('a commit whose answer was lost is found by the retry, and is not made twice', async (t) => {
  const { app, way, id, order } = await open(t)
  const hold = await app.hold(id)
  const key = newKey()
  const row = () => app.sql('select 1 from orders where id = $1', [hold.order_id])
  way.slow(400)
  const lost = order(hold, key)
  await until('the commit', async () => (await row()).length === 1)
  way.mute()
  isUnavailable(t, await lost, ORDER_LIMIT_MS, 'the order')
  t.equal((await row()).length, 1, 'it is there all the same')
  way.pass()
  const again = await until('the answer', async () => {
    const reply = await order(hold, key)
    return reply.status !== 503 && reply
  })
  t.match(again, { status: 201, headers: { 'idempotency-replayed': 'true' } })
  t.match(await app.stock(id), { pending: 1 })
  await app.agree(t, 'in the end')
})

t.test('retries of one key while it comes back make one order', async (t) => {
  const { app, way, id, order } = await open(t)
  const hold: HoldBody = await app.hold(id)
  const key = newKey()
  way.stall()
  await Promise.all([times(10, () => order(hold, key)), wait(800).then(() => way.pass())])
  const replies = await times(10, () => order(hold, key))
  t.same(new Set(replies.map(({ status }) => status)), new Set([201]))
  t.equal(new Set(replies.map(({ text }) => text)).size, 1)
  await app.agree(t, 'in the end')
  t.match(await app.stock(id), { pending: 1 })
})

t.test('a connection that is cut in the middle of a load costs nothing but some 503', async (t) => {
  const { app, way, id, order } = await open(t, { sweeper: true })
  const holds = await times(60, () => app.hold(id))
  const key_of = new Map(holds.map((hold) => [hold.hold_id, newKey()]))
  const attempt = (hold: HoldBody) => order(hold, key_of.get(hold.hold_id))
  const cutting = (async () => {
    for (let count = 0; count < 5; count += 1) {
      await wait(20)
      way.cut()
    }
  })()
  await Promise.all(holds.map((hold) => until('an order', async () => (await attempt(hold)).status === 201)))
  await cutting
  t.match(await app.stock(id), { held: 0, pending: 60 })
  await app.agree(t, 'in the end')
})
