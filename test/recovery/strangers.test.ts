import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createEngine } from '../../src/engine/engine.ts'
import { epochText, parseEpoch } from '../../src/engine/epochs.ts'
import { openNodes } from '../../src/engine/nodes.ts'
import { FORM } from '../../src/engine/redis.ts'
import { StartError } from '../../src/errors.ts'
import { type App, build, newKey } from '../fixtures/app.ts'
import { testRedisUrl } from '../fixtures/connect.ts'
import { createDatabase, type Database } from '../fixtures/database.ts'
import { dump } from '../fixtures/dump.ts'
import { notice } from '../fixtures/redis.ts'
import { until } from '../fixtures/until.ts'
import { createSender, newEvent, newIntent } from '../payments/fixtures/stripe-events.ts'

const REFUSED =
  'Redis belongs to another installation: give this one a Redis of its own, or the database that belongs to that Redis'
const STRIPE_SECRET = 'whsec_aVerySecretSigningSecret'
/** Longer than a process takes for anything that it does by itself. */
const STRANGER_FOR_MS = 3_000
const LOOK_MS = 200

type Ground = Pick<App, 'redis' | 'prefix' | 'engine'>

const epochKey = ({ engine }: Pick<App, 'engine'>) => engine.keys.shard(0, 'epoch')

/** All keys but the one in which each process that lives says so every second. */
async function dumpOf({ redis, prefix, engine }: Ground) {
  const all = await dump(redis, prefix)
  delete all[engine.keys.shard(0, 'commits').slice(prefix.length + 1)]
  return all
}

/** What PostgreSQL records of shard 0, as a process of version 0.1 has left it. */
const leftByEarlier = ({ query }: Pick<Database, 'query'>) =>
  query(`update shards set redis_identity = regexp_replace(redis_identity, '^[0-9]+', $1)`, [
    String(FORM - 1),
  ])

/** A database that has had a Redis of its own. */
async function usedDatabase(t: Test): Promise<Database> {
  const other = await build(t)
  await other.product(10)
  await other.close()
  return other.database
}

for (const [what, open] of [
  ['a new database', createDatabase],
  ['a database that had a Redis of its own', usedDatabase],
] as const) {
  t.test(`${what} is refused the Redis of another one, and nothing there is touched`, async (t) => {
    const app = await build(t)
    const id = await app.product(10)
    const hold = await app.hold(id, 2)
    const order = await app.order(await app.hold(id, 3))
    await until('the journal is empty', async () => (await app.journal()) === 0)
    const database = await open(t)
    const shards = await database.query('select * from shards')
    const before = await dumpOf(app)
    const beside = { prefix: app.prefix, redis: app.redis, database }
    const refused = await build(t, { beside }).catch((error: Error) => error)
    t.ok(refused instanceof StartError)
    t.equal((refused as Error).message, REFUSED, 'in one line')
    t.same(await dumpOf(app), before, 'not a key was touched')
    t.same(await database.query('select * from shards'), shards, 'nor what its own database says')
    const writers = await app.sql<{ writer: string }>('select writer from writers')
    const told = Object.keys(await app.redis.hgetall(app.engine.keys.shard(0, 'commits')))
    t.same(
      told.filter((name) => !writers.some(({ writer }) => writer === name)),
      [],
      'and nobody else has said anything there',
    )
    t.match(await app.paid(order.order_id, 'success'), { outcome: 'applied' }, 'the first one goes on')
    t.match(await app.order(hold), { order_status: 'pre-payment' })
    await app.agree(t, 'afterwards')
  })
}

t.test('control: a Redis that names nobody is taken away from its installation', async (t) => {
  const app = await build(t)
  const order = await app.order(await app.hold(await app.product(10), 2))
  await app.close()
  const database = await usedDatabase(t)
  await leftByEarlier(database)
  const { epoch } = parseEpoch(await app.redis.get(epochKey(app)))
  await app.redis.set(epochKey(app), epoch)
  // Else its orders would be written to the other database, as of one that has come back from the past.
  await app.redis.del(app.engine.keys.shard(0, 'commits'))
  const before = await dumpOf(app)
  const other = await build(t, { beside: { prefix: app.prefix, redis: app.redis, database } })
  t.notSame(await dumpOf(app), before)
  t.match(await other.call('GET', `/api/orders/${order.order_id}`), { status: 404 }, 'orders and all')
})

/** Puts the keys of a stranger in the place of an app's own. Returns what puts its own back. */
async function letIn(app: App, epoch_text: string): Promise<() => Promise<void>> {
  const { redis, engine } = app
  const own_epoch = await redis.get(epochKey(app))
  await redis.set(epochKey(app), epoch_text)
  const own = await Promise.all(
    (await app.keys()).map(async (key) => ({
      key,
      value: await redis.dumpBuffer(key),
      end: Math.max(0, await redis.pexpiretime(key)),
    })),
  )
  for (const { key } of own) if (key !== epochKey(app)) await redis.del(key)
  const shard = (name: Parameters<typeof engine.keys.shard>[1]) => engine.keys.shard(0, name)
  const counters = ['total', '9', 'available', '8', 'held', '1', 'pending', '0', 'sold', '0']
  await redis.hset(shard('products'), ...counters.map((text, at) => (at % 2 === 0 ? `1:${text}` : text)))
  const end_ms = Date.now() + 100
  const id = `${randomBytes(12).toString('base64url')}${end_ms.toString(16).padStart(11, '0')}0`
  await redis.zadd(shard('holds'), end_ms, `${id}|1:1:100|USD|1000|`)
  await redis.xadd(shard('journal'), '*', 'order', '', 'payments', '')
  await redis.hset(shard('commits'), 'a writer of theirs', 7)
  await redis.set(engine.keys.idem(0, 'orders', 'a key of theirs'), 'a|b|c')
  return async () => {
    // The epoch comes last: without one the shard would be taken for one that was lost.
    for (const key of await app.keys()) if (key !== epochKey(app)) await redis.del(key)
    for (const { key, value, end } of own) {
      if (key !== epochKey(app)) await redis.restore(key, end, value, 'ABSTTL')
    }
    await redis.set(epochKey(app), own_epoch as string)
  }
}

/** Everything that would write to Redis. */
const askAll = (app: App, id: number, hold_id: string, order_id: string) =>
  Promise.all([
    app.call('POST', '/api/holds', { product_id: id, qty: 1 }),
    app.call('POST', `/api/holds/${hold_id}/extend`),
    app.call('DELETE', `/api/holds/${hold_id}`),
    app.call('POST', '/api/orders', { hold_id }, { headers: { 'idempotency-key': newKey() } }),
    app.call('DELETE', `/api/orders/${order_id}`),
    app.pay(order_id, 'success'),
    app.call('POST', `/api/products/${id}/stock`, { delta: 1 }, { headers: { 'idempotency-key': newKey() } }),
    app.call('GET', `/api/products/${id}`),
    app.call('GET', '/readyz'),
  ])

for (const [words, sweeper] of [
  ['with its sweeper', true],
  ['without a sweeper, by its own look', false],
] as const) {
  t.test(
    `a service whose Redis becomes that of a stranger closes, ${words}, and writes nothing`,
    async (t) => {
      const app = await build(t, { sweeper })
      const id = await app.product(10)
      const hold = await app.hold(id, 2)
      const order = await app.order(await app.hold(id, 3))
      await until('the journal is empty', async () => (await app.journal()) === 0)
      const epoch = app.engine.fence.epoch(0)
      const putBack = await letIn(app, epochText(7, randomBytes(16).toString('hex')))
      const theirs = await dump(app.redis, app.prefix)
      await until('it closes by itself', () => !app.engine.fence.isOpen(0))
      for (const end_ms = Date.now() + STRANGER_FOR_MS; Date.now() < end_ms; await wait(LOOK_MS)) {
        const replies = await askAll(app, id, hold.hold_id, order.order_id)
        const statuses = [...new Set(replies.map(({ status }) => status))]
        if (`${statuses}` !== '503') t.fail('all is refused', { statuses })
      }
      t.same(await dump(app.redis, app.prefix), theirs, 'nothing of a stranger is touched')
      t.ok(app.log.includes(`shard 0: can not be opened yet: ${REFUSED}`), 'the log says why')
      await putBack()
      await until('it opens again', async () => (await app.call('GET', '/readyz')).status === 200)
      t.equal(app.engine.fence.epoch(0), epoch, 'its own Redis is as it was')
      t.match(await app.stock(id), { total: 10, available: 5, held: 2, pending: 3 })
      t.match(await app.order(hold), { order_status: 'pre-payment' })
      t.match(await app.paid(order.order_id, 'success'), { outcome: 'applied' })
      await app.agree(t, 'afterwards')
    },
  )
}

t.test('control: where the stranger does not give a name, all that it has is overwritten', async (t) => {
  const app = await build(t)
  await app.product(10)
  await letIn(app, '7')
  const theirs = await dump(app.redis, app.prefix)
  const ask = async () => (await app.call('GET', '/readyz')).status === 200
  await ask()
  await until('it is taken over', ask)
  t.equal(app.engine.fence.epoch(0), 8)
  t.notSame(await dump(app.redis, app.prefix), theirs)
})

async function nameOf({ sql }: App): Promise<string> {
  const [row] = await sql<{ id: string }>('select id from installation')
  return (row?.id ?? '').replaceAll('-', '')
}

/** An id that nobody gave out, as far as its end goes. */
function unknownId(end: string): string {
  const expires_at_ms = Date.now() + 60_000
  return `ord_${randomBytes(12).toString('base64url')}${expires_at_ms.toString(16).padStart(11, '0')}${end}`
}

t.test(
  'a payment for an order that nobody knows is parked only where its id is of this installation',
  async (t) => {
    const app = await build(t, { env: { STRIPE_WEBHOOK_SECRET: STRIPE_SECRET } })
    const stripe = createSender(app, STRIPE_SECRET)
    const own = (await nameOf(app)).slice(0, 5)
    const hold = await app.hold(await app.product(10))
    t.match(hold.hold_id, new RegExp(`^hld_.{27}0z${own}$`), 'ids say whose they are')
    const other = own === 'abcde' ? 'bcdef' : 'abcde'
    const rows = (order_id: string) => app.sql('select outcome from payments where order_id = $1', [order_id])
    const succeeds = (order_id: string) =>
      newEvent('payment_intent.succeeded', newIntent({ order_id, amount: 9900 }))
    for (const [whose, end] of [
      ['another installation', `0z${other}`],
      ['nobody', '0'],
    ] as const) {
      for (const status of ['success', 'failed']) {
        const order_id = unknownId(end)
        const before = await dumpOf(app)
        const refused = {
          status: 400,
          body: { code: 'validation_failed', errors: [{ path: '/order_id' }] },
        }
        t.match(await app.pay(order_id, status), refused, `${status} for an id of ${whose}`)
        const ignored = { status: 200, body: { data: { outcome: 'ignored', order: null } } }
        t.match(await stripe.send(succeeds(order_id)), ignored, 'and at the door of Stripe')
        t.same(await rows(order_id), [])
        t.same(await dumpOf(app), before, 'nothing is parked')
      }
    }
    for (const send of [
      (order_id: string) => app.pay(order_id, 'success'),
      (order_id: string) => stripe.send(succeeds(order_id)),
    ]) {
      const order_id = unknownId(`0z${own}`)
      t.match(await send(order_id), { status: 202, body: { data: { outcome: 'parked' } } }, 'one of its own')
      t.same(await rows(order_id), [{ outcome: 'parked' }])
    }
    const { isOwnId } = app.engine
    app.engine.isOwnId = () => true
    t.match(await app.pay(unknownId(`0z${other}`), 'success'), { status: 202 }, 'control: without the look')
    app.engine.isOwnId = isOwnId
  },
)

/** A Redis and a database as version 0.1 has left them, and an engine of that version on them. */
async function openEarlier(t: Test) {
  const app = await build(t)
  const id = await app.product(20)
  await app.close()
  const { epoch } = parseEpoch(await app.redis.get(epochKey(app)))
  await app.redis.set(epochKey(app), epoch)
  await app.redis.del(app.engine.keys.shard(0, 'commits'))
  await leftByEarlier(app.database)
  const nodes = openNodes(testRedisUrl())
  await nodes.connect()
  await nodes.locate(0)
  t.teardown(() => nodes.disconnect())
  const engine = createEngine({
    ...{ nodes, shards: 1, prefix: app.prefix, hold_ttl_ms: 600_000, order_ttl_ms: 600_000 },
  })
  engine.fence.open(0, epoch)
  const hold = async (qty: number) => {
    const result = await engine.placeHold({ items: [{ product_id: id, qty }], customer_id: null, idem: null })
    if (result.status !== 'placed') throw new Error(result.status)
    return result.hold.id
  }
  return { app, engine, id, hold }
}

t.test('what version 0.1 left is taken over by its own database, with ids that say nothing', async (t) => {
  const { app, engine, id, hold } = await openEarlier(t)
  const [live, early, unpaid, paid] = [await hold(1), await hold(2), await hold(3), await hold(4)]
  const key = newKey()
  for (const one of [unpaid, paid]) t.match(await engine.createOrder(one, null), { status: 'created' })
  t.match(await engine.applyPayment(notice(paid, key, 'success'), false), { status: 'applied' })
  t.match(live, /^.{27}0$/, 'an id of that version')

  const next = await build(t, { beside: app })
  const { installation } = parseEpoch(await app.redis.get(epochKey(app)))
  t.equal(installation, await nameOf(app), 'from now on the Redis says whose it is')
  t.match(await next.stock(id), { total: 20, available: 10, held: 3, pending: 3, sold: 4 })
  t.match(await next.paid(`ord_${early}`, 'success'), { outcome: 'parked' }, 'a live hold can be paid')
  for (const [one, words] of [
    [live, 'pending'],
    [early, 'paid'],
  ] as const) {
    t.match(await next.call('GET', `/api/holds/hld_${one}`), { status: 200 })
    t.match(await next.order({ hold_id: `hld_${one}` }), { payment_status: words })
  }
  for (const one of [live, unpaid])
    t.match(await next.paid(`ord_${one}`, 'success'), { outcome: 'applied' }, 'an unpaid order can be paid')
  t.equal(await next.engine.readOrder(paid), undefined, 'a final order is left to PostgreSQL')
  t.match(
    await next.paid(`ord_${paid}`, 'failed'),
    { outcome: 'ignored' },
    'one that only PostgreSQL knows is found',
  )
  t.match(await next.paid(`ord_${paid}`, 'success', {}, key), {
    outcome: 'duplicate',
    first_outcome: 'applied',
  })
  t.match(
    await next.hold(id),
    { hold_id: new RegExp(`z${installation.slice(0, 5)}$`) },
    'new ids say whose they are',
  )
  await next.agree(t, 'afterwards')
})

t.test('a new database is refused the Redis that version 0.1 left', async (t) => {
  const { app, hold } = await openEarlier(t)
  await hold(2)
  const before = await dump(app.redis, app.prefix)
  const database = await createDatabase(t)
  const beside = { prefix: app.prefix, redis: app.redis, database }
  await t.rejects(build(t, { beside }), { message: REFUSED })
  t.same(await dump(app.redis, app.prefix), before)
  t.same(await database.query('select 1 from shards'), [])
})
