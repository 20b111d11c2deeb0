import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { oneNode } from '../../src/engine/nodes.ts'
import { connectRedis } from '../../src/engine/redis.ts'
import { checkNodes } from '../../src/engine/settings.ts'
import { StartError } from '../../src/errors.ts'
import { testRedisUrl } from '../fixtures/connect.ts'
import { openProxy } from '../fixtures/proxy.ts'
import { type Fixture, idem, notice, openFixture } from '../fixtures/redis.ts'
import { openRedisServer } from '../fixtures/redis-server.ts'

/** What HTTP promises. A step that Redis does not answer is given up after 0.9 s, one that waits for its turn after 1.9 s. */
const GIVEN_UP_MS = 3_000
/** At the start each part of the handshake may take as long. */
const START_GIVEN_UP_MS = 6_000
/** By then a client that was still trying would have tried again. */
const FIRST_RETRY_MS = 150
/** Sooner than any time-out could have ended it. */
const AT_ONCE_MS = 800
const POLL_MS = 10
const TRIES = 500

async function connectTo(t: Test, url: string): Promise<Redis> {
  const redis = connectRedis(url)
  t.teardown(() => redis.disconnect())
  await checkNodes(oneNode(redis))
  return redis
}

/** Waits until something is so. */
async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await check()); tries += 1) {
    if (tries === TRIES) throw new Error(`waited too long until ${what}`)
    await wait(POLL_MS)
  }
}
const isBack = (redis: Redis) => () =>
  redis.ping().then(
    () => true,
    () => false,
  )

/** Asserts that a step is rejected as unavailable within a time. */
async function rejectedWithin(t: Test, limit_ms: number, what: string, step: () => Promise<unknown>) {
  const start_ms = performance.now()
  await t.rejects(step(), { name: 'UnavailableError', code: 'unavailable' }, what)
  const took_ms = Math.round(performance.now() - start_ms)
  t.ok(took_ms < limit_ms, `${what} within ${limit_ms} ms: ${took_ms}`)
}

t.test(
  'a step whose reply is lost is rejected in bounded time, ran once, and is not sent again',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 100)
    const proxy = await openProxy(t, testRedisUrl())
    const redis = await connectTo(t, proxy.url)
    const engine = f.open({ redis })
    await f.hold(1, { engine })
    proxy.swallow()
    await rejectedWithin(t, GIVEN_UP_MS, 'no reply', () => f.place(1, { engine, idem: idem('k') }))
    t.ok(proxy.hasSwallowed(), 'Redis did answer')
    proxy.cut()
    proxy.pass()
    await until('the connection is back', isBack(redis))
    t.match(await f.stock(), { held: 2 }, 'it ran once')
    const again = await f.place(1, { engine, idem: idem('k') })
    t.match(again, { status: 'replayed' }, 'the same request with the same key finds its hold')
    t.match(await f.stock(), { held: 2 })
    await f.equation('at the end')
  },
)

t.test('a step is rejected at once when its connection is cut, and ran at most once', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  const proxy = await openProxy(t, testRedisUrl())
  const redis = await connectTo(t, proxy.url)
  const engine = f.open({ redis })
  await engine.createOrder((await f.hold(1)).id, null) // Redis knows the script now, so that one reply is all
  const { id } = await f.hold(1, { engine })
  proxy.swallow()
  await rejectedWithin(t, AT_ONCE_MS, 'a cut connection', async () => {
    const created = engine.createOrder(id, idem('k'))
    // Its rejection is awaited below; until then nobody listens.
    created.catch(() => {})
    await until('Redis has answered', proxy.hasSwallowed)
    proxy.cut()
    return created
  })
  proxy.pass()
  await until('the connection is back', isBack(redis))
  t.match(await engine.createOrder(id, idem('k')), { status: 'replayed' })
  t.match(await f.stock(), { pending: 2, held: 0 })
  await f.equation('at the end')
})

t.test('control: with the defaults of the client the same step runs twice', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  const proxy = await openProxy(t, testRedisUrl())
  const redis = new Redis(proxy.url)
  t.teardown(() => redis.disconnect())
  const engine = f.open({ redis })
  await f.hold(1, { engine })
  proxy.swallow()
  const placing = f.place(1, { engine })
  await until('Redis has answered', proxy.hasSwallowed)
  t.match(await f.stock(), { held: 2 })
  proxy.cut()
  proxy.pass()
  t.match(await placing, { status: 'placed' })
  t.match(await f.stock(), { held: 3 }, 'one request, two holds')
})

t.test('while there is no connection steps are rejected at once, and go on when it is back', async (t) => {
  const server = await openRedisServer(t)
  const f = await openFixture(t, { url: server.url })
  await f.load(1, 100)
  const proxy = await openProxy(t, server.url)
  const redis = await connectTo(t, proxy.url)
  const engine = f.open({ redis })
  redis.disconnect(true)
  proxy.cut()
  await rejectedWithin(t, AT_ONCE_MS, 'no connection', () => f.place(1, { engine }))
  await rejectedWithin(t, AT_ONCE_MS, 'no connection', () => engine.readProduct(1))
  await until('the connection is back', isBack(redis))
  t.match(await f.place(1, { engine }), { status: 'placed' })
  t.ok(engine.fence.isOpen(0), 'a lost connection alone does not close the fence')
  await f.equation('at the end')
})

t.test('when Redis stalls every step is rejected in bounded time, however many wait', async (t) => {
  const server = await openRedisServer(t)
  const f = await openFixture(t, { url: server.url })
  await f.load(1, 1000)
  const { id } = await f.hold(1)
  const redis = await connectTo(t, server.url)
  const engine = f.open({ redis })
  const steps = (): Array<Promise<unknown>> => [
    ...Array.from({ length: 600 }, (_, at) => f.place(1, { engine, idem: idem(`k${at}`) })),
    engine.createOrder(id, idem('order')),
    ...Array.from({ length: 600 }, (_, at) => engine.readProduct(at)),
    engine.applyPayment(notice(id, 'p1', 'success'), true),
    engine.journal.length(0),
    engine.expireOrders(0),
    engine.settleParked(0),
  ]
  server.pause()
  await rejectedWithin(t, GIVEN_UP_MS, 'a stalled Redis', async () => {
    const results = await Promise.allSettled(steps())
    t.equal(results.filter(({ status }) => status === 'fulfilled').length, 0)
    const [first] = results
    throw first?.status === 'rejected' ? first.reason : new Error('it was fulfilled')
  })
  server.resume()
  await until('the connection is back', isBack(redis))
  await Promise.all(steps())
  t.match(await f.stock(), { held: 600, pending: 0, sold: 1 }, 'the same requests again have one effect each')
  await f.equation('at the end')
})

t.test('that Redis has forgotten the scripts goes unnoticed', async (t) => {
  const server = await openRedisServer(t)
  const f = await openFixture(t, { url: server.url })
  await f.load(1, 100)
  const everything = async () => {
    const { id } = await f.hold(1)
    t.match(await f.engine.readHold(id), { status: 'live' })
    t.match(await f.engine.createOrder(id, null), { status: 'created' })
    t.match(await f.engine.applyPayment(notice(id, id, 'success'), false), { status: 'applied' })
  }
  const evals = async () =>
    Number(/cmdstat_eval:calls=(\d+)/.exec(await f.redis.info('commandstats'))?.[1] ?? 0)
  await everything()
  await f.redis.script('FLUSH')
  await everything()
  const before = await evals()
  await everything()
  t.equal(await evals(), before, 'a script is sent whole once, by its hash from then on')
  await f.redis.script('FLUSH')
  const engines = Array.from({ length: 3 }, () => f.open({ own_connection: true }))
  await Promise.all(
    Array.from({ length: 60 }, async (_, at) => {
      if (at % 10 === 5) await f.redis.script('FLUSH')
      const answer = await f.place(1, { engine: engines[at % 3] ?? f.engine })
      t.equal(answer.status, 'placed')
    }),
  )
  t.match(await f.stock(), { held: 60, sold: 3, available: 37 }, 'each ran once')
  await f.equation('at the end')
})

t.test('a Redis that throws keys away when it is full is refused at the start', async (t) => {
  const server = await openRedisServer(t, ['--maxmemory-policy', 'allkeys-lru'])
  const refused = connectRedis(server.url)
  t.teardown(() => refused.disconnect())
  await t.rejects(checkNodes(oneNode(refused)), { name: 'StartError', message: /allkeys-lru.*noeviction/ })
  await until('the connection is closed', () => refused.status === 'end')
})

t.test('a Redis that does not answer stops the start with one line, in bounded time', async (t) => {
  const server = await openRedisServer(t)
  server.pause()
  for (const url of [server.url, 'redis://127.0.0.1:1', '/nowhere/socket']) {
    const redis = connectRedis(url)
    t.teardown(() => redis.disconnect())
    const start_ms = performance.now()
    const error = await checkNodes(oneNode(redis)).then(
      () => undefined,
      (it: unknown) => it,
    )
    t.type(error, StartError)
    t.match(error, { message: /^Redis does not answer \(.*\): start it or correct REDIS_URL$/ })
    t.ok(performance.now() - start_ms < START_GIVEN_UP_MS, url)
    let attempts = 0
    redis.on('connecting', () => {
      attempts += 1
    })
    await wait(FIRST_RETRY_MS)
    t.equal(attempts, 0, 'and it is not tried again')
  }
})

/** What a full Redis, or one that cannot be written to, must still do or must not do. */
async function openFunnel(
  t: Test,
): Promise<{ f: Fixture; live: string; released: string; order: string; late: string }> {
  const server = await openRedisServer(t)
  const f = await openFixture(t, { url: server.url })
  await f.load(1, 100)
  await f.deadHold(1)
  return {
    f,
    live: (await f.hold(1)).id,
    released: (await f.hold(1)).id,
    order: (await f.order(1)).id,
    late: (await f.order(1, { order_ttl_ms: 1 })).id,
  }
}

t.test('with Redis full new holds are refused; releases, expiry, orders and payments go on', async (t) => {
  const { f, live, released, order, late } = await openFunnel(t)
  await f.redis.config('SET', 'maxmemory', '1')
  await t.rejects(f.place(1), { code: 'unavailable', message: /OOM/ })
  await t.rejects(f.engine.adjustStock(1, 5, 'k', null), { code: 'unavailable', message: /OOM/ })
  t.match(await f.engine.readProduct(1), { stock: { held: 3, pending: 2 } })
  t.match(await f.engine.readHold(live), { status: 'live' })
  t.match(await f.engine.releaseHold(released), { status: 'released' })
  t.match(await f.engine.applyPayment(notice(live, 'early', 'success'), false), { status: 'parked' })
  t.match(await f.engine.createOrder(live, idem('k')), { order: { payment_status: 'paid' } })
  t.match(await f.engine.applyPayment(notice(order, 'p1', 'success'), false), { status: 'applied' })
  t.match(await f.engine.expireHolds(0), { count: 1 })
  t.match(await f.engine.expireOrders(0), [{ order: { id: late } }])
  await f.equation('with Redis full')
  await f.redis.config('SET', 'maxmemory', '0')
  t.match(await f.place(1), { status: 'placed' })
})

t.test(
  'whatever keeps Redis from working, a step is rejected as unavailable and nothing is half done',
  async (t) => {
    const { f, live, order } = await openFunnel(t)
    const before = await f.dump()
    const writes: Array<() => Promise<unknown>> = [
      () => f.place(1),
      () => f.engine.createOrder(live, null),
      () => f.engine.applyPayment(notice(order, 'p1', 'success'), false),
      () => f.engine.cancelOrder(order),
      () => f.engine.expireHolds(0),
    ]
    const reads = [() => f.engine.readProduct(1), () => f.engine.readHold(live)]
    const refused = async (word: string, steps = writes) => {
      for (const step of steps) {
        await t.rejects(step(), { code: 'unavailable', message: new RegExp(word) }, word)
      }
    }
    await f.redis.config('SET', 'min-replicas-to-write', '1')
    await refused('NOREPLICAS')
    await f.redis.config('SET', 'min-replicas-to-write', '0')
    await f.redis.replicaof('127.0.0.1', 1)
    await refused('READONLY')
    await f.redis.config('SET', 'replica-serve-stale-data', 'no')
    await refused('MASTERDOWN', reads)
    await f.redis.replicaof('NO', 'ONE')

    await f.redis.config('SET', 'busy-reply-threshold', '1')
    const other = f.redis.duplicate()
    t.teardown(() => other.disconnect())
    const looping = other.eval('while true do end', 0).catch((error: Error) => error.message)
    await until('a script loops', () =>
      f.redis.ping().then(
        () => false,
        (error: Error) => error.message.startsWith('BUSY'),
      ),
    )
    await refused('BUSY', [...writes, ...reads])
    await f.redis.script('KILL')
    t.match(await looping, /killed/)

    t.same(await f.dump(), before)
    t.ok(f.engine.fence.isOpen(0))
    t.match(await f.place(1), { status: 'placed' })
    await f.equation('at the end')
  },
)
