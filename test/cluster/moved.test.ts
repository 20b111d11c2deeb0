import t from 'tap'
import { openDb } from '../../src/db/client.ts'
import { createEngine } from '../../src/engine/engine.ts'
import { openNodes } from '../../src/engine/nodes.ts'
import type { PaymentNotice } from '../../src/engine/payments.ts'
import { slotOfShard } from '../../src/engine/slots.ts'
import { UnavailableError } from '../../src/errors.ts'
import { createWriter } from '../../src/journal/writer.ts'
import { createMover } from '../../src/recovery/move.ts'
import { createRebuilder } from '../../src/recovery/rebuilder.ts'
import { build, newKey } from '../fixtures/app.ts'
import { openTestCluster, ownerOf } from '../fixtures/cluster.ts'
import { until } from '../fixtures/until.ts'

const SHARDS = 3
const [OLD, NEW] = [0, 1]

t.test('what has moved to another shard needs the one of its beginning no more', async (t) => {
  const cluster = await openTestCluster(t, { replicas: false })
  const app = await build(t, {
    redis_at: cluster.address,
    env: { STOCK_SHARDS: String(SHARDS), HOLD_TTL_SECONDS: '30' },
    sweeper: true,
  })
  const [moved, stayed, other] = [
    await app.product(20, { shard: OLD }),
    await app.product(20, { shard: OLD }),
    await app.product(20, { shard: NEW }),
  ]
  const ordered = async (id: number) => app.order(await app.hold(id))
  const [hold, kept, early] = [await app.hold(moved), await app.hold(moved), await app.hold(moved)]
  const parked = newKey()
  await app.paid(early.order_id, 'success', {}, parked)
  const [unpaid, mine, paid, failed] = [
    await ordered(moved),
    await ordered(moved),
    await ordered(moved),
    await ordered(moved),
  ]
  const first = newKey()
  await app.paid(paid.order_id, 'success', {}, first)
  await app.paid(failed.order_id, 'failed')
  const elsewhere = await ordered(stayed)

  const nodes = openNodes(cluster.address, 10_000)
  const db = openDb(app.database.url, { patience_ms: 10_000 })
  t.teardown(async () => {
    nodes.disconnect()
    await db.close()
  })
  const { hold_ttl_ms, order_ttl_ms, prefix, installation } = app.engine
  const engine = createEngine({ nodes, shards: SHARDS, hold_ttl_ms, order_ttl_ms, prefix, installation })
  const writer = createWriter({ db, engine, on_alarm: (message) => t.comment(message) })
  const rebuilder = createRebuilder({ engine, writer, say: () => {} })
  await nodes.connect()
  await createMover({ engine, db, rebuilder }).move([moved], NEW)
  const isOpen = (shard: number) => app.engine.fence.isOpen(shard)
  const areOpen = async () => {
    await app.engine.probe()
    return app.engine.shardOfProduct(moved) === NEW && [OLD, NEW].every(isOpen)
  }
  await until('the move is known', areOpen)

  const away = await ownerOf(cluster, slotOfShard(OLD))
  await away.kill()
  await until('the old shard is away', () => !isOpen(OLD))

  // What Redis has where it lives now.
  t.match(await app.readOrder(unpaid.order_id), { order_status: 'pre-payment' })
  t.match(await app.paid(unpaid.order_id, 'success'), { outcome: 'applied' })
  t.match(await app.call('DELETE', `/api/orders/${mine.order_id}`), { status: 200 })
  t.match(await app.call('GET', `/api/holds/${hold.hold_id}`), { status: 200 })
  t.match(await app.order(hold), { order_status: 'pre-payment' }, 'a hold becomes an order')
  t.match(await app.call('DELETE', `/api/holds/${kept.hold_id}`), { status: 204 })
  t.match(await app.order(early), { payment_status: 'paid' }, 'a payment waits for its order')
  // What PostgreSQL alone remembers.
  t.match(await app.readOrder(paid.order_id), { payment_status: 'paid' })
  t.match(await app.paid(paid.order_id, 'success', {}, first), { outcome: 'duplicate' })
  t.match(await app.paid(paid.order_id, 'success'), { outcome: 'refund_due', reason: 'already_paid' })
  t.match(await app.paid(failed.order_id, 'success'), { outcome: 'applied' }, 'it takes its units again')
  t.match(await app.call('DELETE', `/api/orders/${paid.order_id}`), { status: 409 })
  t.match(await app.stock(moved), { available: 15, held: 0, pending: 1, sold: 4 })
  t.match(await ordered(other), { order_status: 'pre-payment' }, 'the other products are sold')

  // What nobody can tell is 503, never 404: it may be in the shard that is away.
  const unknown = `ord_AAAAAAAAAAAAAAAA${unpaid.order_id.slice(20)}`
  for (const id of [elsewhere.order_id, unknown]) {
    t.match(await app.call('GET', `/api/orders/${id}`), { status: 503 })
    t.match(await app.call('DELETE', `/api/orders/${id}`), { status: 503 })
    t.match(await app.pay(id, 'success'), { status: 503 })
    t.match(await app.call('GET', `/api/holds/hld_${id.slice(4)}`), { status: 503 })
  }
  t.equal(
    (await app.sql('select from payments where order_id = any($1)', [[elsewhere.order_id, unknown]])).length,
    0,
    'nor is anything parked for it',
  )

  const notice: PaymentNotice = {
    ...{ order_id: unknown.slice('ord_'.length), idempotency_key: newKey(), status: 'success' },
    ...{ amount: null, currency: null, payment_method: null, transaction_id: null },
  }
  await t.rejects(app.engine.applyPayment(notice, true), UnavailableError)
  const key = app.engine.keys.shard(NEW, 'parked')
  t.equal(
    await app.engine.nodes.of(NEW).zscore(key, notice.order_id),
    null,
    'not in a shard that may not be its own',
  )

  away.start()
  await until('the old shard is back', areOpen, 30_000)
  t.match(await app.readOrder(elsewhere.order_id), { order_status: 'pre-payment' })
  t.match(await app.call('GET', `/api/orders/${unknown}`), { status: 404 })
  await app.agree(t, 'afterwards')
})
