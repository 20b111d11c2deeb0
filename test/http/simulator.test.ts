import t from 'tap'
import { build } from '../fixtures/app.ts'
import { send } from '../fixtures/http.ts'

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`
type Sent = Array<{ label: string; status: number; answer: { data?: { outcome: string }; code?: string } }>

t.test('the built-in gateway pays an order through the signed webhook', async (t) => {
  const app = await build(t, { env: { WEBHOOK_SECRETS: SECRET } })
  const simulate = (order_id: string, scenario: string) =>
    app.expect<Sent>(200, app.call('POST', '/api/simulator/payments', { order_id, scenario }))
  const id = await app.product(10)
  const order = await app.order(await app.hold(id))
  t.match(await app.pay(order.order_id, 'success'), { status: 401 }, 'control: unsigned it is refused')
  t.match(await simulate(order.order_id, 'success'), [
    { status: 200, answer: { data: { outcome: 'applied' } } },
  ])
  t.match(await app.readOrder(order.order_id), { payment_status: 'paid' })

  const failed = await app.order(await app.hold(id))
  t.match(await simulate(failed.order_id, 'failure'), [
    { status: 200, answer: { data: { outcome: 'applied' } } },
  ])
  t.match(await app.readOrder(failed.order_id), { payment_status: 'failed' })

  const twice = await app.order(await app.hold(id))
  const outcomes = (sent: Sent) => sent.map(({ answer }) => answer.data?.outcome)
  t.same(outcomes(await simulate(twice.order_id, 'duplicate')), ['applied', 'duplicate', 'duplicate'])

  const early = await app.hold(id)
  t.match(await simulate(early.order_id, 'out-of-order'), [
    { label: 'success', status: 202, answer: { data: { outcome: 'parked' } } },
    { label: 'failure of an earlier attempt', status: 202 },
  ])
  await app.order(early)
  t.match(await app.readOrder(early.order_id), { payment_status: 'paid' })
  t.match(await app.stock(id), { available: 7, held: 0, pending: 0, sold: 3 })
  await app.agree(t, 'in the end')
})

t.test('what the webhook refuses is told, and what is no request for it is refused', async (t) => {
  const app = await build(t)
  const bodies = [
    {},
    { order_id: 'x' },
    { order_id: 'x', scenario: 'forged' },
    { order_id: 1, scenario: 'success' },
    { order_id: 'x', scenario: 'success', more: 1 },
  ]
  for (const body of bodies) {
    const reply = await app.call('POST', '/api/simulator/payments', body)
    t.match(reply, { status: 400, body: { code: 'validation_failed' } }, JSON.stringify(body))
  }
  const reply = await app.call('POST', '/api/simulator/payments', { order_id: 'x', scenario: 'success' })
  t.match(reply, { status: 200, body: { data: [{ status: 400, answer: { code: 'validation_failed' } }] } })
  t.same(await app.sql('select 1 from payments'), [])
})

t.test('there is no built-in gateway in production, nor where others reach the service', async (t) => {
  const production = {
    NODE_ENV: 'production',
    ADMIN_TOKEN: 'an-admin-token-of-some-length',
    WEBHOOK_SECRETS: SECRET,
    REDIS_URL: 'redis://127.0.0.1:1',
    DATABASE_URL: 'postgres://127.0.0.1:1/none',
  }
  for (const env of [production, { HOST: '0.0.0.0' }]) {
    const app = await build(t, { env })
    const hold = await app.hold(await app.product(1))
    const body = { order_id: hold.order_id, scenario: 'success' }
    const reply = await send(app.origin, { method: 'POST', path: '/api/simulator/payments', body })
    t.match(reply, { status: 404, body: { code: 'route_not_found' } })
    t.notOk('/api/simulator/payments' in (app.app.swagger().paths ?? {}), 'nor does the document name it')
    t.match(await app.sql('select count(*)::int as count from payments'), [{ count: 0 }])
    await app.close()
  }
})
