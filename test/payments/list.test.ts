import t from 'tap'
import { newKey } from '../fixtures/app.ts'
import { times } from '../fixtures/until.ts'
import { keysOf, openBooks } from './fixtures/books.ts'

const { app, admin, list, pages, newHold, newOrder, dueRefund, refund } = await openBooks(t)

t.test(
  'a list of payments can be asked for one outcome, one order, or what is still to be paid back',
  async (t) => {
    const [due, parked] = [newKey(), newKey()]
    const order = await dueRefund(due)
    await app.paid(order.order_id, 'failed')
    const hold = await newHold()
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
