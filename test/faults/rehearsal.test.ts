import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { seeded } from '../../src/random.ts'
import { certify, countBroken } from '../../src/rehearsal/certificate.ts'
import { openDetour } from '../../src/rehearsal/detour.ts'
import { createLedger, type Ledger } from '../../src/rehearsal/ledger.ts'
import { readOptions } from '../../src/rehearsal/options.ts'
import { build, newKey } from '../fixtures/app.ts'
import { openGround, start, startServer } from '../fixtures/program.ts'
import { until } from '../fixtures/until.ts'

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
    t.match(output.stdout, /history: [1-9]\d+ operations of 3 products and [1-9]\d* orders, /)
    t.notMatch(output.stdout, /NOT EXPLAINED/)
  },
)

t.test(
  'a rehearsal sends the requests of its buyers to several processes, whose servers are slow now and then',
  async (t) => {
    const args = [
      '--services',
      '2',
      '--slow-postgres',
      '50-150',
      '--faults',
      'kill-api',
      '--seconds',
      '2',
      '--slow-redis',
      '10-40',
    ]
    const { ended, output } = start(t, 'rehearse', {}, { args: [...args, '--buyers', '8', '--seed', '7'] })
    const { code } = await ended
    // Whether promises are kept is for rehearsals to find out, many of them; this one shows that it looks.
    const broken = [...output.stdout.matchAll(/^ {2}broken: (.+)$/gm)].map(([, line]) => line)
    t.equal(code, broken.length > 0 ? 1 : 0, output.stderr)
    t.match(output.stdout, /kill-api: ready again after \d+ ms/)
    t.match(output.stdout, /orders refused that were right +\d+\n/)
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

t.test('an order that is refused for a live hold breaks the certificate', async (t) => {
  const app = await build(t)
  const product_id = await app.product(20)
  const judge = async (code: string, change: (ledger: Ledger, now_ms: number) => void = () => {}) => {
    const ledger = createLedger()
    const { order_id, expires_at } = await app.hold(product_id)
    const hold = ledger.place(order_id, Date.parse(expires_at))
    const now_ms = hold.placed_ms + 1
    ledger.refused.push({ order_id, code, asked_ms: now_ms, answered_ms: now_ms })
    change(ledger, now_ms)
    const certificate = await certify(ledger, { engine: app.engine, db: app.service.db, product_id, wait })
    t.match(certificate, { lost: [], broken: [], oversold: 0 })
    t.equal(countBroken(certificate), certificate.refused_orders.length)
    return certificate.refused_orders
  }
  const lose = (ledger: Ledger, now_ms: number) => {
    ledger.redis_lost_until_ms = now_ms
  }
  const end = (ledger: Ledger, now_ms: number) => {
    for (const hold of ledger.placed.values()) hold.expires_at_ms = now_ms + 100
  }
  const prepay = (ledger: Ledger) => {
    for (const hold of ledger.placed.values()) hold.is_prepaid = true
  }
  t.match(await judge('insufficient_stock'), [/insufficient_stock/])
  t.match(await judge('insufficient_stock', lose), [/insufficient_stock/], 'no loss of Redis explains it')
  t.same(await judge('insufficient_stock', end), [], 'the hold was about to end')
  for (const code of ['hold_not_found', 'hold_expired', 'hold_released']) {
    t.match(await judge(code), [new RegExp(code)])
    t.same(await judge(code, lose), [], 'Redis lost it')
    t.same(await judge(code, end), [], 'its time had come')
  }
  t.match(await judge('hold_already_used'), [/hold_already_used/])
  t.same(await judge('hold_already_used', prepay), [], 'the sweeper made the order of a paid hold')
  t.match(await judge('idempotency_key_reused'), [/idempotency_key_reused/])
})

t.test('money that is due back breaks the certificate unless what the buyer did explains it', async (t) => {
  const app = await build(t)
  const product_id = await app.product(10)
  const hold = await app.hold(product_id)
  const order = await app.order(hold)
  const key = newKey()
  await app.paid(order.order_id, 'success', {}, key)
  const ledger = createLedger()
  const note = ledger.place(hold.order_id, Date.parse(hold.expires_at))
  ledger.payments.push(key)
  // Nobody mends what Redis and PostgreSQL differ in here: looking again would find the same.
  const skip = async () => {}
  const judge = async () => {
    const { broken } = await certify(ledger, {
      engine: app.engine,
      db: app.service.db,
      product_id,
      wait: skip,
    })
    return broken.filter((line) => line.includes(key))
  }
  const due = (reason: string) => app.sql(`update payments set outcome = 'refund_due', reason = '${reason}'`)
  const cancelled = (reason: string) => {
    const payment_status = reason === 'requested' ? 'pending' : 'failed'
    return app.sql(
      `update orders set order_status = 'cancelled', payment_status = '${payment_status}', cancel_reason = '${reason}'`,
    )
  }

  t.same(await judge(), [])
  for (const reason of [
    'no_units_left',
    'already_paid',
    'amount_mismatch',
    'hold_released',
    'order_cancelled',
  ]) {
    await due(reason)
    t.match(await judge(), [new RegExp(`${reason}.+confirmed`)])
  }
  await cancelled('requested')
  t.match(await judge(), [/order_cancelled/], 'nobody asked for that')
  note.is_cancelled = true
  t.same(await judge(), [])
  await due('no_units_left')
  t.match(await judge(), [/no_units_left.+requested/])
  await cancelled('payment_timeout')
  t.same(await judge(), [], 'its units were sold to somebody else')
  await app.sql("update payments set outcome = 'parked', reason = null")
  t.match(await judge(), [/is parked though its order is there/])

  await app.sql('delete from order_items')
  await app.sql('delete from orders')
  await due('no_units_left')
  t.match(await judge(), [/no_units_left.+not there/], 'an order that was never made')
  await due('order_never_came')
  t.match(await judge(), [/order_never_came/])
  ledger.redis_lost_until_ms = note.placed_ms
  t.same(await judge(), [], 'its hold was lost with Redis')
})

t.test('a change of stock that was acknowledged and is not there breaks the certificate', async (t) => {
  const app = await build(t)
  const product_id = await app.product(10)
  const ledger = createLedger()
  const [key, body] = [newKey(), { delta: 2 }]
  const path = `/api/products/${product_id}/stock`
  t.equal((await app.call('POST', path, body, { headers: { 'idempotency-key': key } })).status, 200)
  ledger.adjustments.push(key)
  const judge = () => certify(ledger, { engine: app.engine, db: app.service.db, product_id, wait })
  t.match(await judge(), { lost: [], broken: [], units: 12, acknowledged: 1 })
  ledger.adjustments.push('never')
  t.match((await judge()).lost, ['the stock change never is gone'])
})

t.test('a detour holds replies back in phases, in their order, and is straight otherwise', async (t) => {
  const echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
  await once(echo, 'listening')
  const { port } = echo.address() as AddressInfo
  const detour = await openDetour({ port, slowness: { min_ms: 30, max_ms: 60 } })
  t.teardown(() => echo.close())
  const socket = connect(detour.port, '127.0.0.1')
  let echoed = ''
  socket.on('data', (data) => {
    echoed += data
  })
  let sent = ''
  /** Sends something, and says after how many ms it came back. */
  const sendMs = async () => {
    const from_ms = performance.now()
    const text = `${sent.length},`
    sent += text
    socket.write(text)
    await until('the echo', () => echoed.length === sent.length)
    return performance.now() - from_ms
  }
  const SEND_COUNT = 20
  const countLate = async () => {
    let late = 0
    for (let at = 0; at < SEND_COUNT; at += 1) if ((await sendMs()) >= 30) late += 1
    return late
  }
  detour.slow(() => 0)
  t.equal(await countLate(), SEND_COUNT, 'a slow phase')
  detour.slow(() => 0.99)
  await wait(700)
  t.ok((await countLate()) < SEND_COUNT / 2, 'a fast phase')
  detour.slow(seeded(7))
  for (let at = 0; at < 200; at += 1) {
    const text = `${at},`
    sent += text
    socket.write(text)
    if (at % 10 === 0) await wait(5)
  }
  await until('all echoes', () => echoed.length === sent.length)
  t.equal(echoed, sent, 'bytes keep their order')
  detour.straight()
  t.ok((await countLate()) < SEND_COUNT / 2)
  const closed = once(socket, 'close')
  await detour.close()
  await closed
})

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

t.test('options of a rehearsal that make no sense are refused by name', async (t) => {
  t.match(readOptions(['--services', '8', '--slow-postgres', '300-900', '--faults', '']), {
    services: 8,
    slow_postgres: { min_ms: 300, max_ms: 900 },
    slow_redis: undefined,
    order_ttl_seconds: 1,
    faults: [],
  })
  for (const [args, says] of [
    [['--services', '9'], /--services must be a whole number from 1 to 8/],
    [['--order-ttl', '0'], /--order-ttl must be a whole number from 1 to 10/],
    [['--slow-postgres', '900-300'], /--slow-postgres must be two numbers of ms up to 5000/],
    [['--slow-redis', '0-9000'], /--slow-redis must be two numbers of ms up to 5000/],
    [['--slow-postgres', '300'], /--slow-postgres must be two numbers of ms/],
    [['--url', 'http://127.0.0.1:1', '--services', '2'], /--services is for an installation of its own/],
  ] as const) {
    t.throws(() => readOptions([...args]), { message: says })
  }
})
