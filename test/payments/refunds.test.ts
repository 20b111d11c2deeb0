import t from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import { send } from '../fixtures/http.ts'
import type { OrderBody } from '../fixtures/resources.ts'
import { times } from '../fixtures/until.ts'
import { unchanged } from './fixtures/everything.ts'

const TOKEN = 'an-admin-token-of-some-length'
const app = await build(t, { env: { ADMIN_TOKEN: TOKEN } })
const admin = { headers: { authorization: `Bearer ${TOKEN}` } }
const product_id = await app.product(1_000)

type Row = {
  idempotency_key: string
  order_id: string
  outcome: string
  reason: string | null
  created_at: string
  refunded_at: string | null
}
type Page = { data: Row[]; meta: { next_cursor: string | null } }

async function list(query: string): Promise<Page> {
  const reply = await app.call('GET', `/api/payments${query}`, undefined, admin)
  if (reply.status !== 200) throw new Error(`${reply.status} ${reply.text}`)
  return reply.body as Page
}

/** All pages from a cursor on, with something that happens between two of them. */
async function pages(query: string, between: () => Promise<unknown> = async () => {}): Promise<Row[]> {
  const rows: Row[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { data, meta }: Page = await list(`${query}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`)
    rows.push(...data)
    cursor = meta.next_cursor
    await between()
  }
  return rows
}

const refund = (key: string, more: object = admin) =>
  app.call('POST', `/api/payments/${encodeURIComponent(key)}/refunded`, undefined, more)
const keysOf = (rows: Row[]) => rows.map(({ idempotency_key }) => idempotency_key)
const newOrder = async () => app.order(await app.hold(product_id))

/** A paid order, and under the key a second payment of it, which is due for refund. */
async function dueRefund(key = newKey()): Promise<OrderBody> {
  const order = await newOrder()
  await app.paid(order.order_id, 'success')
  await app.paid(order.order_id, 'success', {}, key)
  return order
}

async function openRefunds(): Promise<number> {
  const { text } = await send(app.origin, { method: 'GET', path: '/metrics', agent: app.agent })
  return Number(/^holdfast_refunds_open (\d+)$/m.exec(text)?.[1])
}

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

t.test(
  'a list of payments can be asked for one outcome, one order, or what is still to be paid back',
  async (t) => {
    const [due, parked] = [newKey(), newKey()]
    const order = await dueRefund(due)
    await app.paid(order.order_id, 'failed')
    const hold = await app.hold(product_id)
    await app.paid(hold.order_id, 'success', { amount: 1, transaction_id: 'tx_7' }, parked)

    const of_order = await list(`?order_id=${order.order_id}`)
    t.same(of_order.data.map(({ outcome }) => outcome).sort(), ['applied', 'ignored', 'refund_due'])
    t.same(keysOf((await list(`?order_id=${order.order_id}&outcome=refund_due`)).data), [due])
    t.same((await list(`?order_id=${hold.order_id}`)).data, [
      {
        ...{
          idempotency_key: parked,
          order_id: hold.order_id,
          outcome: 'parked',
          status: 'success',
          reason: null,
        },
        ...{ amount: 1, currency: null, transaction_id: 'tx_7', refunded_at: null },
        created_at: (await list(`?order_id=${hold.order_id}`)).data[0]?.created_at,
      },
    ])

    const open = `?order_id=${order.order_id}&outcome=refund_due&refunded=false`
    t.same(keysOf((await list(open)).data), [due])
    await refund(due)
    t.same(await list(open), { data: [], meta: { next_cursor: null } })
    t.same(keysOf((await list(open.replace('false', 'true'))).data), [due])
    t.same(
      (await list('?outcome=refund_due&order_id=ord_AAAAAAAAAAAAAAAA000000000000')).data,
      [],
      'an order of nobody',
    )
  },
)

t.test('pages miss nothing and repeat nothing while payments come in', async (t) => {
  const order = await newOrder()
  await times(40, () => app.paid(order.order_id, 'failed'))
  // Many of them came in the same millisecond.
  await app.sql(
    `update payments set created_at = date_trunc('second', created_at) where order_id = $1 and idempotency_key < 'k-8'`,
    [order.order_id],
  )
  const wanted = keysOf((await list(`?order_id=${order.order_id}&limit=100`)).data)
  t.equal(wanted.length, 40)
  for (const limit of [1, 7, 20, 39, 40]) {
    const rows = await pages(`?order_id=${order.order_id}&limit=${limit}`, () =>
      app.paid(order.order_id, 'failed'),
    )
    const found = keysOf(rows)
    t.same(
      found.filter((key) => wanted.includes(key)),
      wanted,
      `pages of ${limit}`,
    )
    t.equal(new Set(found).size, found.length, 'none twice')
    await app.sql('delete from payments where order_id = $1 and not idempotency_key = any($2)', [
      order.order_id,
      wanted,
    ])
  }
})

t.test('the newest payment comes first', async (t) => {
  const order = await newOrder()
  const keys = Array.from({ length: 5 }, newKey)
  for (const key of keys) await app.paid(order.order_id, 'failed', {}, key)
  const rows = (await list(`?order_id=${order.order_id}`)).data
  const moments = rows.map(({ created_at }) => created_at)
  t.same(moments, moments.toSorted().reverse())
  t.same(new Set(keysOf(rows)), new Set(keys))
})

t.test('a key of 255 characters of any script can end a page, and be paid back', async (t) => {
  for (const letter of ['a', 'ß', '語', '💶']) {
    const key = letter.repeat(255 / [...letter].length)
    const order = await dueRefund(key)
    const rows = await pages(`?order_id=${order.order_id}&limit=1`)
    t.equal(rows.length, 2, `${letter} in a cursor`)
    t.match(
      await refund(key),
      { status: 200, body: { data: { idempotency_key: key } } },
      `${letter} in a path`,
    )
  }
})

t.test('a question that can not be answered is refused', async (t) => {
  const cursor = (key: unknown) => `cursor=${Buffer.from(JSON.stringify(key)).toString('base64url')}`
  const queries = [
    ...['limit=0', 'limit=101', 'limit=x', 'outcome=duplicate', 'order_id=7', 'refunded=maybe', 'page=2'],
    ...[
      'cursor=',
      'cursor=x',
      cursor([]),
      cursor(['a', 1]),
      cursor([1]),
      cursor([1, 2]),
      cursor([1, 'a', 'b']),
    ],
    ...[
      cursor([1.5, 'a']),
      cursor([1e300, 'a']),
      cursor([-1, 'a']),
      cursor([null, 'a']),
      cursor([1, '\u0000']),
    ],
    ...[cursor([2 ** 53, 'a']), cursor([1, '\ud800'])],
  ]
  for (const query of queries) {
    const reply = await app.call('GET', `/api/payments?${query}`, undefined, admin)
    t.match(reply, { status: 400, body: { code: 'validation_failed' } }, query)
  }
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
  await app.paid((await app.hold(product_id)).order_id, 'success', {}, parked)
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
