import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { certify } from '../../src/rehearsal/certificate.ts'
import { createLedger } from '../../src/rehearsal/ledger.ts'
import { build, newKey } from '../fixtures/app.ts'
import { openGround, start, startServer } from '../fixtures/program.ts'

const REDIS_DB = 14

t.test(
  'a rehearsal breaks an installation of its own and certifies that every promise was kept',
  async (t) => {
    const args = ['--runs', '3', '--seconds', '3', '--buyers', '8', '--seed', '7']
    const { ended, output } = start(t, 'rehearse', {}, { args })
    t.match(await ended, { code: 0 }, output.stderr)
    t.match(output.stderr, /^holdfast: rehearsing, run \d of 3 \(.+\): \d+ s$/m)
    t.notOk(output.stderr.includes('\x1b'), 'plain lines')
    t.match(output.stdout, /ready after [a-z-]+ +median \d+ ms, at most \d+ ms/)
    t.match(output.stdout, /acknowledged and lost +0\n/)
    t.match(output.stdout, /units oversold +0\n/)
    t.match(output.stdout, /operations acknowledged +[1-9]/)
  },
)

t.test(
  'a rehearsal against a running service uses a product of its own and leaves the rest alone',
  async (t) => {
    const ground = await openGround(t, REDIS_DB)
    const product = await ground.product(7)
    const server = await startServer(t, ground.env)
    const args = ['--url', server.origin, '--seconds', '1', '--buyers', '8']
    const { ended, output } = start(t, 'rehearse', ground.env, { args })
    t.match(await ended, { code: 0 }, output.stderr)
    t.match(output.stdout, /no fault/)
    const rows = await ground.sql<{ id: number; committed: number }>(
      'select id, committed from products order by id',
    )
    t.match(rows[0], { id: product, committed: 0 })
    t.equal(rows.length, 2)
    await ground.agree(t, 'after it')
  },
)

t.test(
  'what was acknowledged and is not there, and what does not agree, breaks the certificate',
  async (t) => {
    const app = await build(t)
    const product_id = await app.product(10)
    const ledger = createLedger()
    const order = await app.order(await app.hold(product_id, 2))
    const key = newKey()
    await app.paid(order.order_id, 'success', {}, key)
    ledger.promise({ kind: 'order', order_id: order.order_id, qty: 2 })
    ledger.promise({ kind: 'payment', order_id: order.order_id, idempotency_key: key, outcome: 'applied' })
    const judge = () => certify(ledger, { engine: app.engine, db: app.service.db, product_id, wait })
    t.match(await judge(), { lost: [], broken: [], oversold: 0, sold: 2, acknowledged: 2 })

    const never = `ord_AAAAAAAAAAAAAAAA${order.order_id.slice(20)}`
    ledger.promise({ kind: 'order', order_id: never, qty: 1 })
    ledger.promise({ kind: 'cancellation', order_id: order.order_id })
    ledger.promise({
      kind: 'payment',
      order_id: order.order_id,
      idempotency_key: newKey(),
      outcome: 'applied',
    })
    ledger.promise({ kind: 'payment', order_id: order.order_id, idempotency_key: key, outcome: 'ignored' })
    t.equal((await judge()).lost.length, 4)
    await app.sql(
      "update orders set payment_status = 'failed', order_status = 'cancelled', cancel_reason = 'payment_failed'",
    )
    t.match((await judge()).lost, [/was paid and is not/])
    await app.redis.hincrby(app.engine.keys.shard(0, 'products'), `${product_id}:available`, 3)
    t.match((await judge()).broken, [/./], 'Redis and PostgreSQL differ')
  },
)

t.test('a rehearsal that can not be is refused in one line', async (t) => {
  for (const [args, says] of [
    [['--faults', 'fire'], /there is no fault fire: choose from kill-redis/],
    [['--runs', '0'], /--runs must be a whole number above 0/],
    [['--what'], /see npm run rehearse -- --help/],
  ] as const) {
    const { ended, output } = start(t, 'rehearse', {}, { args: [...args] })
    t.match(await ended, { code: 1 })
    t.match(output.stderr.trimEnd().split('\n'), [says])
  }
})
