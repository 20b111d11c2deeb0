import t from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'

type DeskBody = {
  taken_at: string | null
  refunds_open: number | null
  journal_entries: number | null
  fence: Array<{ shard: number; is_open: boolean }>
  series: { at: string[]; holds_granted: Array<number | null>; holds_refused: Array<number | null> }
}

t.test('the desk shows the numbers of now and a series of those before', async (t) => {
  const app = await build(t, { env: { STOCK_SHARDS: '2' } })
  const desk = () => app.expect<DeskBody>(200, app.call('GET', '/api/desk'))
  t.match(await desk(), {
    refunds_open: 0,
    journal_entries: 0,
    fence: [
      { shard: 0, is_open: true },
      { shard: 1, is_open: true },
    ],
    workers: null,
  })
  const id = await app.product(5)
  await app.hold(id, 2)
  await app.call('POST', '/api/holds', { product_id: id, qty: 9 })
  const seen = await until('the next sample', async () => {
    const { series } = await desk()
    return (series.holds_granted.at(-1) ?? 0) > 0 && series
  })
  t.ok((seen.holds_refused.at(-1) ?? 0) > 0)
  t.equal(seen.at.length, seen.holds_granted.length)
})

t.test('a refund that is due shows within a second or two', async (t) => {
  const app = await build(t)
  const order = await app.order(await app.hold(await app.product(1)))
  await app.paid(order.order_id, 'success', {}, newKey())
  await app.paid(order.order_id, 'success', {}, newKey())
  await until('the refund', async () => {
    const { refunds_open } = await app.expect<DeskBody>(200, app.call('GET', '/api/desk'))
    return refunds_open === 1
  })
})

t.test('only the admin sees the desk', async (t) => {
  const token = 'an-admin-token-of-some-length'
  const app = await build(t, { env: { ADMIN_TOKEN: token, CUSTOMER_JWT_SECRET: 's'.repeat(32) } })
  for (const authorization of ['', 'Bearer x', 'Bearer']) {
    const reply = await app.call('GET', '/api/desk', undefined, { headers: { authorization } })
    t.match(reply, { status: 401, body: { code: 'unauthorized' } })
  }
  const headers = { authorization: `Bearer ${token}` }
  t.match(await app.call('GET', '/api/desk', undefined, { headers }), { status: 200 })
})
