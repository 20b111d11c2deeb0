import t from 'tap'
import { listOrders } from '../../src/db/orders.ts'
import { listPayments } from '../../src/db/payments.ts'
import { type App, build } from '../fixtures/app.ts'
import type { HoldBody, OrderBody } from '../fixtures/resources.ts'
import { times } from '../fixtures/until.ts'

type List<Row> = { data: Row[]; meta: { next_cursor: string | null } }

async function page<Row>(app: App, path: string): Promise<List<Row>> {
  const reply = await app.call('GET', path)
  if (reply.status !== 200) throw new Error(reply.text)
  return reply.body as List<Row>
}

/** All pages joined; `between` runs after each. */
async function readAll<Row>(app: App, path: string, between?: () => Promise<unknown>): Promise<Row[]> {
  const rows: Row[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const { data, meta }: List<Row> = await page(app, `${path}${cursor && `&cursor=${cursor}`}`)
    rows.push(...data)
    cursor = meta.next_cursor
    await between?.()
  }
  return rows
}

/** How many scripts Redis ran for this service and how many queries PostgreSQL, while `work` ran. */
async function counting(app: App, work: () => Promise<unknown>) {
  const counted = { scripts: 0, queries: 0 }
  const { db, engine } = app.service
  const { use } = db
  const redis = engine.nodes.of(0)
  const { evalsha } = redis
  db.use = (ask) =>
    use((sql) => {
      const counting = new Proxy(sql, {
        get(target, name) {
          if (name === 'query') counted.queries += 1
          const value = Reflect.get(target, name)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
      return ask(counting)
    })
  redis.evalsha = ((...args: Parameters<typeof evalsha>) => {
    counted.scripts += 1
    return evalsha.apply(redis, args)
  }) as typeof evalsha
  try {
    await work()
  } finally {
    db.use = use
    redis.evalsha = evalsha
  }
  return counted
}

t.test('a page of any list costs one call to Redis and one query at most', async (t) => {
  const app = await build(t)
  const ids = await times(30, () => app.product(50))
  const holds = await times(30, (at) => app.hold(ids[at] as number, 1, { customer_id: 'ada' }))
  for (const hold of holds.slice(0, 15)) await app.paid((await app.order(hold)).order_id, 'success')
  for (const [path, wanted] of [
    ['/api/products?limit=30', { scripts: 1, queries: 1 }],
    ['/api/holds?limit=30', { scripts: 1, queries: 0 }],
    [`/api/holds?product_id=${ids[20]}`, { scripts: 1, queries: 0 }],
    ['/api/orders?limit=30', { scripts: 0, queries: 1 }],
    [`/api/orders?product_id=${ids[0]}&customer_id=ada`, { scripts: 0, queries: 1 }],
    ['/api/payments?limit=30', { scripts: 0, queries: 1 }],
  ] as const) {
    t.same(await counting(app, () => page(app, path)), wanted, path)
  }
})

t.test('holds are listed soonest expiry first, of one product or of all, with their carts', async (t) => {
  const app = await build(t)
  const [shoe, sock] = [await app.product(20, { hold_ttl_ms: 60_000 }), await app.product(20)]
  const late = await app.hold(sock, 2)
  const soon = await app.hold(shoe, 1, { customer_id: 'ada' })
  const paid = await app.hold(shoe)
  await app.paid(paid.order_id, 'success')
  const cart: HoldBody = await app.expect(
    201,
    app.call('POST', '/api/holds', {
      items: [
        { product_id: sock, qty: 1 },
        { product_id: shoe, qty: 3 },
      ],
    }),
  )
  await app.order(await app.hold(shoe))
  const ids = (rows: HoldBody[]) => rows.map(({ hold_id }) => hold_id)
  const all = await readAll<HoldBody>(app, '/api/holds?limit=1')
  t.same(new Set(ids(all)), new Set(ids([late, soon, paid, cart])), 'orders are none any more')
  const ends = all.map(({ expires_at }) => expires_at)
  t.same(ends, ends.toSorted())
  t.same(
    all.find(({ hold_id }) => hold_id === soon.hold_id),
    soon,
    'each as it is when read alone',
  )
  const of_sock = await readAll<HoldBody>(app, `/api/holds?product_id=${sock}`)
  t.same(ids(of_sock), ids([cart, late]))
  t.same(await readAll(app, '/api/holds?product_id=999999'), [])
})

t.test('orders are listed newest first, and by every filter alone and together', async (t) => {
  const app = await build(t)
  const [shoe, sock] = [await app.product(100), await app.product(100)]
  const made: OrderBody[] = []
  for (let at = 0; at < 12; at += 1) {
    const customer = at % 4 === 0 ? {} : { customer_id: `c${at % 2}` }
    const { order_id } = await app.order(await app.hold(at % 3 === 0 ? sock : shoe, 1, customer))
    if (at % 4 === 1) await app.paid(order_id, 'success')
    if (at % 4 === 2) await app.paid(order_id, 'failed')
    if (at === 3) await app.call('DELETE', `/api/orders/${order_id}`)
    made.push(await app.readOrder(order_id))
  }
  const newest = made.toSorted(
    (a, b) => b.created_at.localeCompare(a.created_at) || (a.order_id < b.order_id ? 1 : -1),
  )
  type Filter = (order: OrderBody & { customer_id?: string | null }) => boolean
  const filters: Array<[query: string, wanted: Filter]> = [
    ['', () => true],
    ['payment_status=paid', (one) => one.payment_status === 'paid'],
    ['payment_status=pending', (one) => one.payment_status === 'pending'],
    ['order_status=cancelled', (one) => one.order_status === 'cancelled'],
    ['order_status=pre-payment', (one) => one.order_status === 'pre-payment'],
    ['customer_id=c1', (one) => one.customer_id === 'c1'],
    ['customer_id=nobody', () => false],
    [`product_id=${sock}`, (one) => one.items[0]?.product_id === sock],
    [
      `product_id=${shoe}&payment_status=failed&order_status=cancelled&customer_id=c0`,
      (one) =>
        one.items[0]?.product_id === shoe && one.payment_status === 'failed' && one.customer_id === 'c0',
    ],
  ]
  for (const [query, wanted] of filters) {
    for (const limit of [2, 100]) {
      t.same(
        await readAll(app, `/api/orders?limit=${limit}&${query}`),
        newest.filter(wanted),
        `${limit} ${query}`,
      )
    }
  }
})

t.test('pages of orders neither skip nor repeat one while others are made and move on', async (t) => {
  const app = await build(t)
  const id = await app.product(500)
  const make = () => app.hold(id).then((hold) => app.order(hold))
  const made = await times(30, make)
  for (const path of ['/api/orders?limit=4', `/api/orders?limit=4&product_id=${id}`]) {
    const rows = await readAll<OrderBody>(app, path, async () => {
      await times(3, make)
      const one = made.pop()
      if (one) await app.call('DELETE', `/api/orders/${one.order_id}`)
    })
    const ids = rows.map(({ order_id }) => order_id)
    t.equal(new Set(ids).size, ids.length, 'none twice')
    t.same(
      made.filter(({ order_id }) => !ids.includes(order_id)),
      [],
      'none skipped',
    )
  }
})

t.test('control: pages that are counted off repeat orders while others are made', async (t) => {
  const app = await build(t)
  const id = await app.product(100)
  await times(10, async () => app.order(await app.hold(id)))
  const counted = async (offset: number) =>
    app.sql<{ id: string }>('select id from orders order by created_at desc, id desc limit 5 offset $1', [
      offset,
    ])
  const first = await counted(0)
  await times(3, async () => app.order(await app.hold(id)))
  const second = await counted(5)
  t.ok(second.some((row) => first.some((one) => one.id === row.id)))
})

t.test('every question for orders and payments has an index that answers it in its order', async (t) => {
  const app = await build(t)
  const id = await app.product(1_000_000)
  await app.sql(
    `insert into orders (id, shard, history, payment_status, order_status, cancel_reason, amount, currency, customer_id,
       created_at, pay_by, hold_created_at, hold_expires_at)
     select 'ord_' || n, 0, 1, (array['pending', 'failed', 'paid'])[least(n % 20, 2) + 1],
       (array['pre-payment', 'cancelled', 'confirmed'])[least(n % 20, 2) + 1], case n % 20 when 1 then 'payment_failed' end, 1,
       'USD', 'c' || n % 500, now() - n * interval '1 s', now(), now(), now() from generate_series(1, 20000) as n`,
  )
  await app.sql(
    `insert into order_items (order_id, product_id, qty, unit_amount, created_at)
     select id, $1, 1, 1, created_at from orders`,
    [id],
  )
  await app.sql(
    `insert into payments (idempotency_key, order_id, shard, status, outcome, first_outcome, created_at)
     select id, id, 0, 'success', 'applied', 'applied', created_at from orders`,
  )
  await app.sql('analyze')
  const after = [Date.now() - 5_000_000, 'ord_5000'] as const
  const plans: string[] = []
  const explain = (work: (sql: never) => Promise<unknown>) =>
    app.service.db.use(async (sql) => {
      const explaining = {
        query: async (text: string, values: unknown[]) => {
          const { rows } = await sql.query<{ 'QUERY PLAN': string }>(`explain ${text}`, values)
          plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'))
          return { rows: [] }
        },
      }
      await work(explaining as never)
    })
  for (const filter of [
    {},
    { payment_status: 'failed' },
    { order_status: 'pre-payment' },
    { customer_id: 'c7' },
    { product_id: id },
    { product_id: id, payment_status: 'paid' },
  ] as const) {
    await explain((sql) => listOrders(sql, filter, null, 20))
    await explain((sql) => listOrders(sql, filter, after, 20))
  }
  for (const filter of [{}, { outcome: 'refund_due' }]) {
    await explain((sql) => listPayments(sql, filter, after, 20))
  }
  t.equal(plans.length, 14)
  for (const plan of plans) t.notMatch(plan, /Seq Scan|Sort {2}\(/, plan)
})
