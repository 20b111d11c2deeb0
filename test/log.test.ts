import t from 'tap'
import { createLog, hideSecrets } from '../src/log.ts'
import { build } from './fixtures/app.ts'
import { send } from './fixtures/http.ts'

const ENV = {
  ADMIN_TOKEN: 'tell"nobody-123',
  CUSTOMER_JWT_SECRET: 'a-secret-of-thirty-two-bytes-or-more',
  WEBHOOK_SECRETS: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,whsec_AAAA9r8GKYqrTwjUPD8ILPZIo2LaBBBB',
  STRIPE_WEBHOOK_SECRET: 'whsec_abcdefghijklmnop',
  DATABASE_URL: 'postgres://shop:p%40ssword1@db:5432/shop',
  REDIS_URL: 'redis://:redispass@redis:6379',
}

function open(level = 'info') {
  const lines: string[] = []
  return { lines, log: createLog(level, ENV, { write: (line) => lines.push(line) }) }
}

t.test('no secret of the configuration is in a line, whatever the line is about', async (t) => {
  const { lines, log } = open()
  log.info({ env: ENV }, 'settings')
  for (const secret of Object.values(ENV)) log.error(new Error(`can not use ${secret} here`))
  log.warn({ err: Object.assign(new Error('Invalid URL'), { input: ENV.DATABASE_URL }) }, 'p@ssword1')
  const hidden = [
    'nobody-123',
    'thirty-two',
    'MfKQ9r8G',
    'AAAA9r8G',
    'abcdefghijklmnop',
    'ssword1',
    'redispass',
  ]
  for (const secret of hidden) t.notOk(lines.join('').includes(secret), secret)
  t.match(lines.join(''), /postgres:\/\/shop:\[hidden\]@db:5432\/shop/)
  for (const line of lines) t.doesNotThrow(() => JSON.parse(line))
})

t.test('tokens, signatures and authorization of a request are hidden, and the rest is not', async (t) => {
  const { lines, log } = open()
  const token = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjLTE3In0.c2lnbmF0dXJl'
  const headers = {
    authorization: `Bearer ${token}`,
    'webhook-signature': 'v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=',
    'stripe-signature': 't=1492774577,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e7',
    'user-agent': 'shop/1.0',
  }
  log.info({ headers, note: `came with ${token}` })
  log.info(`authorization: Bearer opaque-token-1`)
  log.info({ text: JSON.stringify({ headers }) })
  const all = lines.join('')
  for (const secret of ['eyJ', 'K5oZfzN95', '5257a869', 'opaque-token-1'])
    t.notOk(all.includes(secret), secret)
  t.match(all, /shop\/1\.0/)
  for (const line of lines) t.doesNotThrow(() => JSON.parse(line))
  t.equal(
    hideSecrets('shard 0: open; hold hld_abc; http://127.0.0.1:3000/a@b'),
    'shard 0: open; hold hld_abc; http://127.0.0.1:3000/a@b',
  )
})

t.test('what an operator cares about is one line, which names its request', async (t) => {
  const { lines, log } = open()
  const app = await build(t, { logger: log, env: { LOG_LEVEL: 'info' } })
  const headers = { 'x-request-id': 'req-7' }
  const { body } = await app.call(
    'POST',
    '/api/products',
    { name: 'Shoe', unit_amount: 100, currency: 'USD', total_stock: 3 },
    { headers },
  )
  const { id } = (body as { data: { id: number } }).data
  const hold = await app.hold(id)
  await app.order(hold)
  const said = lines.map((line) => JSON.parse(line) as { reqId?: string; msg: string; product_id?: number })
  t.match(
    said.filter(({ msg }) => msg === 'a product was created'),
    [{ reqId: 'req-7', product_id: id }],
  )
  t.notOk(lines.join('').includes(hold.hold_id.slice(4)), 'a hold is no line')
  await app.redis.del(app.engine.keys.shard(0, 'epoch'))
  const refused = await send(app.origin, {
    method: 'POST',
    path: '/api/holds',
    body: { product_id: id, qty: 1 },
    headers: { 'x-request-id': 'req-8' },
  })
  t.match(refused, { status: 503, headers: { 'x-request-id': 'req-8' } })
  const unavailable = lines.map((line) => JSON.parse(line)).find(({ reqId }) => reqId === 'req-8')
  t.match(unavailable, { msg: 'recovering' }, 'the line of an error names the request that the problem names')
})

t.test('a payment that has to go back is one line', async (t) => {
  const { lines, log } = open()
  const app = await build(t, { logger: log, env: { LOG_LEVEL: 'info' } })
  const order = await app.order(await app.hold(await app.product(1)))
  await app.paid(order.order_id, 'success', { amount: order.amount + 1, currency: 'USD' })
  const due = lines.map((line) => JSON.parse(line)).filter(({ msg }) => /due for refund/.test(msg))
  t.match(due, [{ refunds: [{ order_id: order.order_id, reason: 'amount_mismatch' }] }])
  t.equal(due.length, 1)
})
