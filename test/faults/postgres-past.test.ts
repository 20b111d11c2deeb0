import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openDb } from '../../src/db/client.ts'
import { findInstallation } from '../../src/db/installation.ts'
import { createMark, type Mark } from '../../src/db/marks.ts'
import { createEngine } from '../../src/engine/engine.ts'
import { openNodes } from '../../src/engine/nodes.ts'
import { createWriter } from '../../src/journal/writer.ts'
import { createRebuilder } from '../../src/recovery/rebuilder.ts'
import { createRecovery } from '../../src/recovery/recovery.ts'
import { verifyShard } from '../../src/recovery/verify.ts'
import { type App, newKey } from '../fixtures/app.ts'
import type { Database } from '../fixtures/database.ts'
import type { ProductBody } from '../fixtures/resources.ts'
import { until } from '../fixtures/until.ts'
import {
  checkAll,
  checkBoth,
  failOnce,
  openShop,
  PAST,
  PREFIX,
  type Shop,
  sellBefore,
  sellSince,
} from './fixtures/past.ts'
import { isReady } from './fixtures/sale.ts'
import { verify } from './fixtures/verify.ts'

/** The service is told by nobody; more only because machines are busy. */
const NOTICED_WITHIN_MS = 2_000
const SLACK_MS = 1_000

type Query = Database['query']

/** Waits until a service has looked at PostgreSQL twice more, from beginning to end. */
async function looksTwice(query: Query): Promise<void> {
  const seen = new Set<number>()
  await until('it has looked', async () => {
    const rows = await query<{ at: number }>('select extract(epoch from max(seen_at)) as at from writers')
    seen.add(rows[0]?.at ?? 0)
    return seen.size > 3
  })
}

/** The parts of a service that notice the past, with marks of the test's. */
async function openParts(t: Test, shop: Shop, openMark: (writer: string) => Mark) {
  const nodes = openNodes(shop.urls.redis_url)
  await nodes.connect()
  const db = openDb(shop.urls.database_url)
  const log: string[] = []
  const say = (line: string) => log.push(line)
  const installation = await db.use(findInstallation)
  const engine = createEngine({
    ...{ nodes, installation, shards: 1, prefix: PREFIX, hold_ttl_ms: 600_000, order_ttl_ms: 600_000 },
    on_close: (shard, reason) => void recovery.reopen(shard, reason),
  })
  const marks = {
    writer: openMark('writer of the test'),
    watch: openMark('watch of the test'),
    admin: openMark('admin of the test'),
  }
  const on_past = () => recovery.notePast()
  const writer = createWriter({ db, engine, mark: marks.writer, on_alarm: say, on_past })
  const rebuilder = createRebuilder({ engine, writer, say })
  const recovery = createRecovery({ engine, db, rebuilder, marks, say })
  await recovery.openAll()
  t.teardown(async () => {
    await recovery.close()
    await writer.drained()
    nodes.disconnect()
    await db.close()
  })
  return { engine, db, writer, log, isOpen: () => engine.fence.isOpen(0) }
}

t.test(
  'a running service tells a PostgreSQL from the past what was acknowledged since, before it sells on',
  async (t) => {
    const shop = await openShop(t)
    const app = await shop.open()
    const before = await sellBefore(app)
    await shop.postgres.keep()
    await isReady(app)
    const since = await sellSince(app, before)
    const epoch = app.engine.fence.epoch(0)
    await shop.postgres.goBack()
    const started_ms = performance.now()
    await until('it is noticed', () =>
      app.log.some((line) => /closed, because PostgreSQL has come back/.test(line)),
    )
    const took_ms = Math.round(performance.now() - started_ms)
    t.ok(took_ms < NOTICED_WITHIN_MS + SLACK_MS, `it is noticed without any request, after ${took_ms} ms`)
    await isReady(app)
    t.equal(app.engine.fence.epoch(0), epoch + 1, 'the shard is rebuilt once')
    await checkAll(t, app, before, since)
    const { code, output } = await verify(shop.urls)
    t.equal(code, 0, output)
    t.match(output, /lost, shard 0, found \S+: product 2 was written again; whether it stood on a shelf/)
  },
)

t.test('a service that is started on a PostgreSQL from the past tells it first', async (t) => {
  const shop = await openShop(t)
  const app = await shop.open()
  const before = await sellBefore(app)
  await shop.postgres.keep()
  await isReady(app)
  const since = await sellSince(app, before)
  await app.close()
  await shop.postgres.goBack()
  const next = await shop.open()
  t.match(
    next.log.find((line) => PAST.test(line)),
    PAST,
    'it is noticed at the start',
  )
  await checkAll(t, next, before, since)
})

t.test('what a rebuild left behind in Redis is told as well', async (t) => {
  const shop = await openShop(t)
  const app = await shop.open()
  const before = await sellBefore(app)
  await shop.postgres.keep()
  await isReady(app)
  const since = await sellSince(app, before)
  const epoch = app.engine.fence.epoch(0)
  await app.redis.del(app.engine.keys.shard(0, 'epoch'))
  await app.engine.probe()
  await isReady(app)
  t.equal(app.engine.fence.epoch(0), epoch + 1, 'it was rebuilt, and final orders count no more')
  t.equal(await app.engine.readOrder(before.paid.order_id.slice(4)), undefined)
  await app.close()
  await shop.postgres.goBack()
  await checkAll(t, await shop.open(), before, since)
})

t.test('a PostgreSQL that is started again as it was is not taken for one from the past', async (t) => {
  const shop = await openShop(t)
  const app = await shop.open()
  const { id, hold } = await sellBefore(app)
  const epoch = app.engine.fence.epoch(0)
  const crashed = async () => {
    await shop.postgres.crash()
    await shop.postgres.start()
  }
  for (const [what, again] of [
    ['in order', shop.postgres.restart],
    ['after a crash', crashed],
  ] as const) {
    const order = await app.order(await app.hold(id))
    await again()
    await looksTwice(shop.postgres.database.query)
    await isReady(app)
    t.match(await app.paid(order.order_id, 'success'), { outcome: 'applied' }, what)
  }
  await app.close()
  await shop.postgres.keep()
  await shop.postgres.goBack()
  const next = await shop.open()
  await looksTwice(shop.postgres.database.query)
  t.equal(next.engine.fence.epoch(0), epoch, 'nor one from a copy in which nothing was missing')
  t.notOk([...app.log, ...next.log].find((line) => PAST.test(line)))
  t.match(await next.call('GET', `/api/holds/${hold.hold_id}`), { status: 200 })
})

t.test('what contradicts the history that PostgreSQL has is shown and does not replace it', async (t) => {
  const shop = await openShop(t)
  const app = await shop.open()
  const { id, paid, cancelled } = await sellBefore(app)
  await shop.postgres.keep()
  await isReady(app)
  const key = newKey()
  await app.paid(paid.order_id, 'success', {}, key)
  await app.expect(200, app.call('DELETE', `/api/orders/${cancelled.order_id}`))
  await until('the journal is empty', async () => (await app.journal()) === 0)
  const redis_has = await app.redis.hget(app.engine.keys.id(0, 'order', paid.order_id.slice(4)), 'order')
  await app.close()
  await shop.postgres.goBack()
  // What another service would have done to the order meanwhile.
  const { query } = shop.postgres.database
  await query(
    `update orders set history = history || ',1-1', order_status = 'cancelled', payment_status = 'failed',
      cancel_reason = 'payment_timeout' where id = $1`,
    [paid.order_id],
  )
  const row = () => query('select * from orders where id = $1', [paid.order_id])
  const its_own = await row()
  const next = await shop.open()
  t.same(await row(), its_own, 'the order of PostgreSQL stays as it is')
  t.match(await next.readOrder(paid.order_id), { order_status: 'cancelled', payment_status: 'failed' })
  t.match(await next.readOrder(cancelled.order_id), { order_status: 'cancelled' }, 'its neighbour is told')
  t.same(await query('select 1 from payments'), [])
  const losses = (await query<{ what: string }>('select what from losses order by loss')).map(
    ({ what }) => what,
  )
  // Whose commits are missing is told first.
  const [lost, payment] = losses.filter((what) => !what.startsWith('PostgreSQL came back'))
  t.ok(redis_has && lost?.includes(redis_has), 'the loss has the record of Redis', { lost, redis_has })
  t.ok(lost?.includes(`"idempotency_key":"${key}"`), 'and the payment')
  t.match(payment, `payment ${key} of ${paid.order_id} came`)
  const { code, output } = await verify(shop.urls)
  t.equal(code, 0, 'they agree on what PostgreSQL has')
  t.ok(lost && output.includes(lost), 'verify shows it', { output })

  t.match(await next.stock(id), { total: 20, available: 19, held: 1, pending: 0, sold: 0 })
  t.match(
    await next.paid(paid.order_id, 'success', {}, key),
    { outcome: 'applied' },
    'its sender may send it again',
  )
  t.match(await next.paid(paid.order_id, 'success', {}, key), { outcome: 'duplicate' })
  await checkBoth(t, next, 'afterwards')
})

t.test('what broke off while PostgreSQL was told is done again, wherever it broke off', async (t) => {
  const shop = await openShop(t)
  const app = await shop.open()
  const before = await sellBefore(app)
  await shop.postgres.keep()
  await isReady(app)
  const since = await sellSince(app, before)
  shop.way.refuse(true)
  shop.way.cut()
  await shop.postgres.goBack()
  const { query } = shop.postgres.database
  const settled =
    'update on shards for each row when (old.behind_since is not null and new.behind_since is null)'
  const places = [
    ['products', 'insert on products for each statement'],
    ['stock_adjustments', 'insert on stock_adjustments for each statement'],
    ['orders', 'insert on orders for each statement'],
    ['payments', 'insert on payments for each statement'],
    ['losses', 'insert on losses for each statement'],
    ['shards', settled],
  ] as const
  await failOnce(query, [...places])
  shop.way.refuse(false)
  await until('it is noticed', () => app.log.some((line) => PAST.test(line)))
  await isReady(app)
  for (const [table] of places) {
    const broke = `shard 0: can not be opened yet: ${table} broke`
    t.ok(app.log.includes(broke), broke)
  }
  await checkAll(t, app, before, since)
  const losses = await query(
    `select what from losses where what like 'product ${since.added.id} was written%'`,
  )
  t.equal(losses.length, 1, 'what can not be told is noted once')
})

t.test('where Redis has lost it too, the service notices that something is gone, and says so', async (t) => {
  const shop = await openShop(t)
  const app = await shop.open()
  const before = await sellBefore(app)
  await shop.postgres.keep()
  await isReady(app)
  const { order } = await sellSince(app, before)
  shop.way.refuse(true)
  shop.way.cut()
  await shop.postgres.goBack()
  await shop.server.redis.flushall()
  shop.way.refuse(false)
  await until('it is noticed', () => app.log.some((line) => PAST.test(line)))
  await isReady(app)
  t.match(await app.stock(before.id), { total: 20, available: 15, held: 0, pending: 5, sold: 0 })
  t.match(await app.call('GET', `/api/orders/${order.order_id}`), { status: 404 })
  await checkBoth(t, app, 'afterwards')
  const { code, output } = await verify(shop.urls)
  t.equal(code, 0)
  t.match(
    output,
    /lost, shard 0, found \S+: Redis knew nothing any more of what PostgreSQL has lost/,
    'an operator is told',
  )
})

for (const [what, is_told] of [
  ['the id of a product that PostgreSQL has lost is not given out again', true],
  ['control: it is where nobody counts what an admin commits', false],
] as const) {
  t.test(what, async (t) => {
    const shop = await openShop(t)
    const app = await shop.open()
    await sellBefore(app)
    // It looks at nothing any more: so an admin may be sooner than its next look.
    await app.service.recovery.close()
    await shop.postgres.keep()
    await isReady(app)
    const create = (by: App, name: string) =>
      by.call('POST', '/api/products', { name, unit_amount: 100, currency: 'USD', total_stock: 5 })
    const { query } = shop.postgres.database
    await query('update shards set behind_since = now()')
    t.match(await create(app, 'Early'), { status: 503 }, 'none is while any shard still has to be heard')
    await query('update shards set behind_since = null')
    const added = await app.expect<ProductBody>(201, create(app, 'Lost'))
    await shop.postgres.goBack()
    if (is_told) {
      await isReady(app)
      t.match(await create(app, 'Next'), { status: 503 }, 'he is refused')
      t.notOk(app.engine.fence.isOpen(0), 'and the fence closes')
      t.same(await query('select 1 from products where id = $1', [added.id]), [])
      const other = await shop.open()
      t.match(await other.readProduct(added.id), { name: 'Lost' })
      const next = await other.expect<ProductBody>(201, create(other, 'Next'))
      t.ok(next.id > added.id, 'no product is taken for another one')
    } else {
      await shop.server.redis.del(app.engine.keys.shard(0, 'commits'))
      const other = await shop.open()
      t.match(await create(other, 'Next'), { status: 201, body: { data: { id: added.id } } })
    }
  })
}

/** Remembers that it has committed something, but not how much. */
const forgetful = (writer: string): Mark => ({
  writer,
  get commits() {
    return 0
  },
  set commits(_count) {},
})

for (const [what, openMark] of [
  ['a process that counts its commits notices a PostgreSQL from the past', createMark],
  ['control: one that does not goes on without what it has acknowledged', forgetful],
] as const) {
  t.test(what, async (t) => {
    const shop = await openShop(t)
    const app = await shop.open()
    const { id } = await sellBefore(app)
    await app.close()
    const { engine, db, writer, log, isOpen } = await openParts(t, shop, openMark)
    await shop.postgres.keep()
    await until('it is open', isOpen)
    const hold = await engine.placeHold({
      items: [{ product_id: id, qty: 4 }],
      customer_id: null,
      idem: null,
    })
    if (hold.status !== 'placed') throw new Error(hold.status)
    const order = await engine.createOrder(hold.hold.id, null)
    if (order.status !== 'created') throw new Error(order.status)
    const committed = async () => {
      await writer.commit(order.entry)
      return true
    }
    await until('it is committed', () => committed().catch(() => false))
    await writer.drained()
    await shop.postgres.goBack()
    await looksTwice(shop.postgres.database.query)
    await until('it is open', isOpen)
    const does_count = openMark === createMark
    t.equal(
      log.some((line) => PAST.test(line)),
      does_count,
    )
    const rows = await shop.postgres.database.query('select 1 from orders where id = $1', [
      `ord_${hold.hold.id}`,
    ])
    t.equal(rows.length, does_count ? 1 : 0)
    t.equal((await verifyShard(engine, db, 0, wait)).is_clean, does_count)
  })
}

t.test('control: at a start nobody notices it where Redis has not been told of commits', async (t) => {
  const shop = await openShop(t)
  const app = await shop.open()
  const before = await sellBefore(app)
  await shop.postgres.keep()
  await isReady(app)
  const { order } = await sellSince(app, before)
  await app.close()
  await shop.postgres.goBack()
  await shop.server.redis.del(app.engine.keys.shard(0, 'commits'))
  const next = await shop.open()
  t.notOk(next.log.find((line) => PAST.test(line)))
  t.same(await next.sql('select 1 from orders where id = $1', [order.order_id]), [])
})
