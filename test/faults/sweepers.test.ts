import t from 'tap'
import { sendPatiently as send } from '../fixtures/http.ts'
import { openGround, start, startServer } from '../fixtures/program.ts'
import type { StockBody } from '../fixtures/resources.ts'
import { times, until } from '../fixtures/until.ts'

t.test('stand-alone sweepers do the work of servers that do none, any number of them at once', async (t) => {
  const ground = await openGround(t, 10)
  const id = await ground.product(100, 3)
  const server = await startServer(t, { ...ground.env, SWEEPER: 'off', ORDER_TTL_SECONDS: '1' })
  const post = (path: string, body: object) => send(server.origin, { method: 'POST', path, body })
  const stock = async () => {
    const { body } = await send(server.origin, { method: 'GET', path: `/api/products/${id}/stock` })
    return (body as { data: StockBody }).data
  }
  const place = async () => {
    const { body } = await post('/api/holds', { product_id: id, qty: 1 })
    return (body as { data: { hold_id: string; order_id: string } }).data
  }
  const [dead, unpaid, paid] = [
    await times(30, place),
    await times(20, place),
    await times(10, place),
  ] as const
  await Promise.all(unpaid.map(({ hold_id }) => post('/api/orders', { hold_id })))
  await Promise.all(
    paid.map(({ order_id }) =>
      post('/api/payments/webhook', { idempotency_key: order_id, order_id, status: 'success' }),
    ),
  )
  await until('the holds to die', async () => {
    const { status } = await send(server.origin, { method: 'GET', path: `/api/holds/${dead[0]?.hold_id}` })
    return status === 410
  })
  t.match(await stock(), { held: 40, pending: 20 }, 'nobody sweeps')

  const sweepers = [start(t, 'sweeper', ground.env), start(t, 'sweeper', ground.env)]
  for (const sweeper of sweepers) await sweeper.says(/sweeping 1 shard/)
  await until('everything to be over', async () => {
    const { held, pending } = await stock()
    return held + pending === 0
  })
  t.match(await stock(), { total: 100, available: 90, sold: 10 })
  await ground.agree(t, 'afterwards')

  const again = await times(20, place)
  sweepers[0]?.kill('SIGKILL')
  await until('the other to go on', async () => (await stock()).available === 90)
  t.equal(again.length, 20)
  const signal_ms = performance.now()
  sweepers[1]?.kill('SIGTERM')
  t.match(await sweepers[1]?.ended, { code: 0 })
  t.ok(performance.now() - signal_ms < 10_000)
  for (const { output } of sweepers) t.equal(output.stderr, '')
})
