import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createDatabase } from '../fixtures/database.ts'
import type { Reply } from '../fixtures/http.ts'
import { until } from '../fixtures/until.ts'
import { buildFaulty, type FaultyApp } from './fixtures/faulty-app.ts'
import { openOwnRedis } from './fixtures/own-redis.ts'
import { ANSWERED_WITHIN_MS, checkSale, createClient, isReady, newLedger } from './fixtures/sale.ts'

const ROOT = join(import.meta.dirname, '..', '..')
/** A millisecond for each key, and a look at the connections every few keys. */
const LOADING = ['--key-load-delay', '1000', '--loading-process-events-interval-bytes', '1024']
const KEYS = 4_000

/** Asks for one thing of each kind, and asserts that each is refused in time, with a hint when to come again. */
async function refusesAll(
  t: Test,
  { app }: Pick<FaultyApp, 'app'>,
  product: number,
  hold_id: string,
  when: string,
) {
  const order_id = `ord_${hold_id.slice('hld_'.length)}`
  const replies: Reply[] = await Promise.all([
    app.call('POST', '/api/holds', { product_id: product, qty: 1 }),
    app.call('POST', '/api/orders', { hold_id }),
    app.call('DELETE', `/api/holds/${hold_id}`),
    app.pay(order_id, 'success'),
  ])
  for (const { status, headers, took_ms } of replies) {
    t.equal(status, 503, when)
    t.match(headers['retry-after'], /^\d+$/, `${when}: Retry-After`)
    t.ok(took_ms < ANSWERED_WITHIN_MS, `${when}: in time`)
  }
}

t.test('a Redis that must not be written to is answered with 503, and used again when it may', async (t) => {
  const faulty = await buildFaulty(t)
  const { app, server } = faulty
  const { redis } = server
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(20)
  const { hold_id } = await client.held(product)
  const before = await app.stock(product)

  await redis.config('SET', 'min-replicas-to-write', '1')
  await refusesAll(t, faulty, product, hold_id, 'NOREPLICAS')
  await redis.config('SET', 'min-replicas-to-write', '0')

  const openings = () => app.log.filter((line) => /shard 0: open/.test(line)).length
  const openings_before = openings()
  await redis.replicaof('127.0.0.1', 1)
  await refusesAll(t, faulty, product, hold_id, 'READONLY')
  await redis.config('SET', 'replica-serve-stale-data', 'no')
  await refusesAll(t, faulty, product, hold_id, 'MASTERDOWN')
  await redis.replicaof('NO', 'ONE')
  await redis.config('SET', 'replica-serve-stale-data', 'yes')
  // It is ready before it notices that a replica was promoted, which closes the fence once more.
  await until('it has looked at what was a replica', () => openings() > openings_before)
  await isReady(app)

  t.same(await app.stock(product), before, 'nothing has changed')
  await client.order({ hold_id })
  await checkSale(t, app, ledger)
})

t.test(
  'a Redis that is busy with a script for long is answered with 503, and used again afterwards',
  async (t) => {
    const faulty = await buildFaulty(t)
    const { app, server } = faulty
    const ledger = newLedger()
    const client = createClient(app, ledger)
    const product = await app.product(20)
    const { hold_id } = await client.held(product)
    await server.redis.config('SET', 'busy-reply-threshold', '50')
    const other = new Redis(server.url)
    t.teardown(() => other.disconnect())
    const looping = other.eval('while true do end', 0).catch((error: Error) => error.message)
    await until('it is busy', () =>
      server.redis.ping().then(
        () => false,
        (error: Error) => error.message.startsWith('BUSY'),
      ),
    )
    await refusesAll(t, faulty, product, hold_id, 'BUSY')
    await server.redis.script('KILL')
    t.match(await looping, /killed/)
    await isReady(app)
    await client.order({ hold_id })
    await checkSale(t, app, ledger)
  },
)

t.test('a Redis that still loads its data is answered with 503, and used when it has', async (t) => {
  const faulty = await buildFaulty(t)
  const { app, server } = faulty
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(50)
  for (let at = 0; at < 10; at += 1) await client.ordered(product)
  const { hold_id } = await client.held(product)
  await server.redis.mset(Object.fromEntries(Array.from({ length: KEYS }, (_, at) => [`other:${at}`, 'x'])))
  await server.redis.bgrewriteaof()
  await until('it is all in one file', async () =>
    /aof_rewrite_in_progress:0.*aof_rewrite_scheduled:0/s.test(await server.redis.info('persistence')),
  )
  await server.kill()
  await server.start(LOADING, { may_load: true })
  const probe = new Redis(server.url, {
    enableReadyCheck: false,
    retryStrategy: () => 20,
    maxRetriesPerRequest: null,
  })
  probe.on('error', () => {})
  t.teardown(() => probe.disconnect())
  await until('it loads', async () => /loading:1/.test(await probe.info('persistence')))
  await refusesAll(t, faulty, product, hold_id, 'LOADING')
  t.match(await probe.info('persistence'), /loading:1/, 'it loaded all the while')
  await isReady(app)
  t.equal((await app.call('GET', `/api/holds/${hold_id}`)).status, 200)
  await client.order({ hold_id })
  await checkSale(t, app, ledger)
})

t.test('with Redis full new holds are refused; orders, payments, releases and expiry go on', async (t) => {
  const { app, server } = await buildFaulty(t, { env: { HOLD_TTL_SECONDS: '2' } })
  const ledger = newLedger()
  const client = createClient(app, ledger)
  const product = await app.product(20)
  const patient = await app.product(20, { hold_ttl_ms: 3_600_000 })
  const unpaid = [await client.ordered(patient), await client.ordered(patient), await client.ordered(patient)]
  const released = await client.held(patient)
  const ordered = await client.held(patient)
  const paid_first = await client.held(patient)
  const expiring = await client.held(product)
  await server.redis.config('SET', 'maxmemory', '1')

  const refused = await app.call('POST', '/api/holds', { product_id: product, qty: 1 })
  t.match(refused, { status: 503, body: { code: 'unavailable' }, headers: { 'retry-after': /^\d+$/ } })
  t.equal((await app.call('DELETE', `/api/holds/${released.hold_id}`)).status, 204)
  t.match(await client.pay(paid_first.order_id, 'success'), { outcome: 'parked' })
  t.match(await client.order(paid_first), { payment_status: 'paid' })
  t.ok(await client.order(ordered))
  t.match(await client.pay(unpaid[0]?.order_id ?? '', 'success'), { outcome: 'applied' })
  t.match(await client.pay(unpaid[1]?.order_id ?? '', 'failed'), { outcome: 'applied' })
  await client.cancel(unpaid[2]?.order_id ?? '')
  t.equal((await app.call('POST', `/api/holds/${expiring.hold_id}/extend`)).status < 500, true)
  await until('it has expired', async () => (await app.stock(product)).available === 20)
  t.equal((await app.call('GET', `/api/holds/${expiring.hold_id}`)).status, 410)
  t.match(await app.stock(patient), { available: 17, held: 0, pending: 1, sold: 2 })

  await server.redis.config('SET', 'maxmemory', '0')
  t.ok(await client.hold(product), 'and holds too, once there is room')
  await checkSale(t, app, ledger)
})

t.test('a full Redis that is not what it was is opened again, and gives units back as before', async (t) => {
  const { app, server } = await buildFaulty(t, { env: { HOLD_TTL_SECONDS: '2' } })
  const { redis } = server
  const product = await app.product(20)
  const patient = await app.product(20, { hold_ttl_ms: 3_600_000 })
  const losses = {
    'it was restarted': async () => {
      await redis.config('REWRITE').catch(() => {})
      await server.kill()
      await server.start(['--maxmemory', '1'])
    },
    'PostgreSQL refused an order': async () => app.engine.fence.close(0, 'it is in doubt', 'wrong'),
    'it lost its epoch': () => redis.del(app.engine.keys.shard(0, 'epoch')),
    'it was emptied': () => redis.flushall(),
  }
  for (const [what, lose] of Object.entries(losses)) {
    await redis.config('SET', 'maxmemory', '0')
    await isReady(app)
    const before = await app.stock(patient)
    const hold = () => app.hold(patient)
    const [unpaid, ordered, released] = [await app.order(await hold()), await hold(), await hold()]
    const dead = await app.hold(product)
    await redis.config('SET', 'maxmemory', '1')
    const epoch = app.engine.fence.epoch(0)
    await lose()
    await until(`${what}: it is opened again`, async () => {
      // The next step notices, if nothing did before.
      await app.call('GET', `/api/orders/${unpaid.order_id}`)
      const { fence } = app.engine
      return fence.isOpen(0) && (what === 'it was restarted' || fence.epoch(0) > epoch)
    })
    await isReady(app)
    t.match(
      await app.call('POST', '/api/holds', { product_id: patient, qty: 1 }),
      { status: 503, body: { code: 'unavailable' } },
      `${what}: control: it is full`,
    )
    t.match(await app.paid(unpaid.order_id, 'success'), { outcome: 'applied' }, what)
    if (what === 'it was emptied') {
      t.match(await app.stock(patient), { held: 0, pending: before.pending, sold: before.sold + 1 }, what)
    } else {
      t.match(await app.order(ordered), { order_status: 'pre-payment' }, what)
      t.equal((await app.call('DELETE', `/api/holds/${released.hold_id}`)).status, 204, what)
      t.match(await app.stock(patient), { held: before.held, sold: before.sold + 1 }, what)
    }
    await until(`${what}: holds end`, async () => (await app.stock(product)).available === 20)
    t.ok([404, 410].includes((await app.call('GET', `/api/holds/${dead.hold_id}`)).status))
  }
  await redis.config('SET', 'maxmemory', '0')
  await app.agree(t, 'afterwards')
})

t.test(
  'a Redis that may throw keys away is not trusted until it may not, and then looked through',
  async (t) => {
    const { app, server } = await buildFaulty(t)
    const { redis } = server
    const ledger = newLedger()
    const client = createClient(app, ledger)
    const product = await app.product(20)
    const ordered = await client.ordered(product)
    const { hold_id } = await client.held(product)
    const holds = app.engine.keys.shard(0, 'holds')
    const closings = () => app.log.filter((line) => /^shard 0: closed/.test(line)).length
    const closings_before = closings()
    const epoch = app.engine.fence.epoch(0)
    let own_calls = 0
    /** How often the service has asked what Redis is: three times a look. */
    const asked = async () => {
      const calls = /cmdstat_info:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1] ?? 0
      own_calls += 1
      return Number(calls) - own_calls
    }

    await redis.rename(holds, 'gone')
    const asked_before = await asked()
    await until('it has been looked at twice', async () => (await asked()) > asked_before + 9)
    t.equal(closings(), closings_before, 'control: a key that is gone is not noticed by itself')
    await redis.rename('gone', holds)

    await redis.config('SET', 'maxmemory-policy', 'allkeys-lru')
    await until('it is closed', () => !app.engine.fence.isOpen(0))
    await redis.del(holds)
    await refusesAll(t, { app }, product, hold_id, 'allkeys-lru')
    const { status, text } = await app.call('GET', '/readyz')
    t.equal(status, 503)
    t.match(text, /because Redis has maxmemory-policy allkeys-lru .*: set it to noeviction"/)
    await until('it was to be opened', () =>
      app.log.some((line) => /^shard 0: can not be opened yet: Redis has maxmemory-policy/.test(line)),
    )
    await redis.config('SET', 'maxmemory-policy', 'volatile-ttl')
    await until('it was to be opened', () => app.log.some((line) => /opened yet: .* volatile-ttl/.test(line)))
    t.notOk(app.engine.fence.isOpen(0), 'nor with another policy that drops keys')

    await redis.config('SET', 'maxmemory-policy', 'noeviction')
    await isReady(app)
    t.equal(app.engine.fence.epoch(0), epoch + 1, 'it was rebuilt')
    t.equal((await app.call('GET', `/api/holds/${hold_id}`)).status, 404, 'what was thrown away is gone')
    t.match(await app.stock(product), { available: 19, held: 0, pending: 1, sold: 0 }, 'its units are not')
    await client.pay(ordered.order_id, 'success')
    await checkSale(t, app, ledger)
  },
)

t.test('a Redis that throws keys away when it is full stops the start, in one line', async (t) => {
  const server = await openOwnRedis(t, ['--maxmemory-policy', 'allkeys-lru'])
  const database = await createDatabase(t)
  const env = { PATH: process.env.PATH, REDIS_URL: server.url, DATABASE_URL: database.url, PORT: '0' }
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/bin/server.ts'], { cwd: ROOT, env })
  t.teardown(() => child.kill('SIGKILL'))
  let said = ''
  child.stderr.on('data', (chunk) => {
    said += chunk
  })
  const [code] = await once(child, 'close')
  t.equal(code, 1)
  t.match(said, /^holdfast: Redis has maxmemory-policy allkeys-lru .*: set it to noeviction\n$/)
})
