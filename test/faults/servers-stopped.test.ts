import t from 'tap'
import { sendBuyers } from '../fixtures/buyers.ts'
import { sendPatiently as send } from '../fixtures/http.ts'
import { openWay } from '../fixtures/outage.ts'
import { openGround, startServer } from '../fixtures/program.ts'
import { until } from '../fixtures/until.ts'

const STOP_LIMIT_MS = 10_000
/** A request that was sent so long before the signal had arrived by then. */
const ARRIVED_MS = 50

t.test(
  'a server that is told to stop under load answers what it has begun, and leaves nothing undone',
  async (t) => {
    const ground = await openGround(t, 1)
    const id = await ground.product(1_000_000)
    const way = await openWay(t, ground.env.DATABASE_URL)
    const server = await startServer(t, { ...ground.env, DATABASE_URL: way.url })
    const stream = send(server.origin, { method: 'GET', path: `/api/products/${id}/stock/stream` })
    const buyers = sendBuyers(server.origin, id, 30)
    await until('a hundred orders', () => buyers.orders.size > 100)
    way.slow(150)
    await until('some more', () => buyers.orders.size > 130)

    const signal_ms = performance.now()
    server.kill('SIGTERM')
    const { code } = await server.ended
    const took_ms = performance.now() - signal_ms
    await buyers.stop()
    way.slow(0)
    t.match(await stream, { status: 200, text: /^event: stock\n/ }, 'who followed the stock is let go')
    t.equal(code, 0)
    t.ok(took_ms < STOP_LIMIT_MS, `after ${Math.round(took_ms)} ms`)
    const begun = buyers.requests.filter(({ sent_ms }) => sent_ms < signal_ms - ARRIVED_MS)
    t.same(
      begun.filter(({ error }) => error !== undefined),
      [],
      `each of ${begun.length} requests that it had begun was answered`,
    )
    const rows = await ground.sql<{ id: string; payment_status: string }>(
      'select id, payment_status from orders',
    )
    const status = new Map(rows.map((row) => [row.id, row.payment_status]))
    t.same(
      [...buyers.orders].filter((order_id) => !status.has(order_id)),
      [],
    )
    t.same(
      [...buyers.paid].filter((order_id) => status.get(order_id) !== 'paid'),
      [],
    )
    t.equal(await ground.journal(), 0, 'the journal is empty')
    await ground.agree(t, 'afterwards')
    t.equal(server.output.stderr, '')
  },
)

t.test('so it does while Redis and PostgreSQL stand still', async (t) => {
  const ground = await openGround(t, 2)
  const [redis, postgres] = [
    await openWay(t, ground.env.REDIS_URL),
    await openWay(t, ground.env.DATABASE_URL),
  ]
  const server = await startServer(t, { REDIS_URL: redis.url, DATABASE_URL: postgres.url })
  redis.stall()
  postgres.stall()
  const asked = send(server.origin, { method: 'POST', path: '/api/holds', body: { product_id: 1, qty: 1 } })
  await until(
    'the request to arrive',
    async () => (await send(server.origin, { method: 'GET', path: '/healthz' })).status === 200,
  )
  const signal_ms = performance.now()
  server.kill('SIGTERM')
  t.match(await asked, { status: 503 })
  await server.ended
  t.ok(performance.now() - signal_ms < STOP_LIMIT_MS, 'it does not wait for them')
})
