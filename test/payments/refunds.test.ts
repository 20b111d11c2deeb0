import t from 'tap'
import { newKey } from '../fixtures/app.ts'
import { times } from '../fixtures/until.ts'
import { openBooks, TOKEN } from './fixtures/books.ts'
import { unchanged } from './fixtures/everything.ts'

const { app, list, newHold, newOrder, dueRefund, refund, openRefunds } = await openBooks(t)

t.test('payments are for the admin alone, and the refusal is always the same', async (t) => {
  const key = newKey()
  await dueRefund(key)
  const wrong = [
    {},
    ...['Bearer wrong', `bearer ${TOKEN}`, TOKEN, `Basic ${TOKEN}`, `Bearer ${TOKEN.slice(0, -1)}`].map(
      (authorization) => ({ authorization }),
    ),
  ]
  const bodies = new Set<string>()
  await unchanged(t, app, async () => {
    for (const headers of wrong) {
      for (const reply of [
        await app.call('GET', '/api/payments', undefined, { headers }),
        await app.call('GET', '/api/payments?limit=0&cursor=no', undefined, { headers }),
        await refund(key, { headers }),
        await refund('nobody has this key', { headers }),
      ]) {
        t.match(reply, { status: 401, body: { code: 'unauthorized' } }, JSON.stringify(headers))
        bodies.add(reply.text)
      }
    }
  })
  t.equal(bodies.size, 1)
})

t.test('money is paid back once, and only where it is due', async (t) => {
  const key = newKey()
  const order = await dueRefund(key)
  const first = await refund(key)
  t.match(first, {
    status: 200,
    body: { data: { idempotency_key: key, order_id: order.order_id, outcome: 'refund_due' } },
  })
  t.match(
    await refund(key),
    { status: 200, body: first.body as object },
    'said twice, it stays at the first moment',
  )
  const said = await times(10, () => refund(key))
  t.equal(new Set([first, ...said].map(({ text }) => text)).size, 1, 'and ten times at once')

  const [applied, ignored, parked] = [newKey(), newKey(), newKey()]
  const other = await newOrder()
  await app.paid(other.order_id, 'success', {}, applied)
  await app.paid(other.order_id, 'failed', {}, ignored)
  await app.paid((await newHold()).order_id, 'success', {}, parked)
  for (const not_due of [applied, ignored, parked]) {
    const reply = await unchanged(t, app, () => refund(not_due))
    t.match(reply, { status: 409, body: { code: 'refund_not_due' } })
  }
  for (const unknown of [newKey(), 'x'.repeat(255)]) {
    const reply = await unchanged(t, app, () => refund(unknown))
    t.match(reply, { status: 404, body: { code: 'payment_not_found' } })
  }
  t.match(await app.paid(order.order_id, 'success', {}, key), {
    outcome: 'duplicate',
    first_outcome: 'refund_due',
  })
  await app.agree(t, 'in the end')
})

t.test('whatever stands in a key, the path finds it', async (t) => {
  const keys = [
    'evt/with/slashes',
    '100%',
    '%2F',
    'a b?c=d#e',
    '..',
    '.',
    'ключ',
    '"quoted"',
    "o'hara",
    'a+b',
    ':key',
    '*',
  ]
  for (const key of keys) {
    const order = await dueRefund(key)
    t.match(await refund(key), { status: 200, body: { data: { idempotency_key: key } } }, key)
    t.match((await list(`?order_id=${order.order_id}&refunded=true`)).data, [{ idempotency_key: key }])
  }
})

t.test('a metric counts the refunds that are open', async (t) => {
  const before = await openRefunds()
  const keys = [newKey(), newKey()]
  for (const key of keys) await dueRefund(key)
  t.equal(await openRefunds(), before + 2)
  await refund(keys[0] ?? '')
  t.equal(await openRefunds(), before + 1)
  await refund(keys[0] ?? '')
  await app.paid((await newOrder()).order_id, 'success')
  t.equal(await openRefunds(), before + 1, 'what is applied is not due')
  await refund(keys[1] ?? '')
  t.equal(await openRefunds(), before)
})
