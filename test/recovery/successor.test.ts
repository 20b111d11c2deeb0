import t, { type Test } from 'tap'
import type { ShardRecord } from '../../src/db/shards.ts'
import { type App, build, newKey } from '../fixtures/app.ts'
import type { Change } from '../fixtures/change.ts'
import { until, whenExtendable } from '../fixtures/until.ts'
import { openPredecessor, type Predecessor } from './fixtures/predecessor.ts'
import { loseLocks, RECORDS, spoiledIn, stateOf } from './fixtures/state.ts'

/** Nothing ends by itself while a test halts at one step after the other. */
const env = { HOLD_TTL_SECONDS: '3600', ORDER_TTL_SECONDS: '3600' }
const SHARD = 0
const UNITS = 10_000
/** Of steps that come again for every order or product the first ones tell of all. */
const MAX_ALIKE = 4
const MAX_TRIES = 3
/** What a shard is recorded to be in the middle of a rebuild, and behind it. */
const UNFINISHED = /^\d+\/$/
const FINISHED = /^\d+\/\w+\/\w+$/

const is = (step: string) => (next: string) => next === step

/** What PostgreSQL has of the shard. */
async function recordOf(app: App): Promise<ShardRecord> {
  const [record] = await app.sql<ShardRecord>('select epoch, redis_identity from shards where shard = $1', [
    SHARD,
  ])
  return record as ShardRecord
}

/** An order and more units that Redis has and PostgreSQL not yet. */
async function uncommitted(app: App, product: number): Promise<void> {
  const { hold_id } = await app.hold(product, 1, { customer_id: 'eve' })
  const idem = { scope: 'orders', key: newKey(), fingerprint: 'body' }
  const ordered = await app.engine.createOrder(hold_id.slice('hld_'.length), idem)
  const added = await app.engine.adjustStock(product, 1, newKey(), null)
  if (ordered.status !== 'created' || added.status !== 'adjusted') throw new Error('it was refused')
}

/** A service with a product that has orders and holds of every kind. */
async function openSale(t: Test) {
  const app = await build(t, { env })
  const product = await app.product(UNITS, { max_per_customer: UNITS })
  const hold = () => app.hold(product, 1, { customer_id: 'ada' })
  await app.paid((await app.order(await hold())).order_id, 'success')
  await app.order(await hold())
  await app.paid((await hold()).order_id, 'success')
  const extended = await whenExtendable(hold())
  await app.expect(200, app.call('POST', `/api/holds/${extended.hold_id}/extend`))
  await uncommitted(app, product)
  return { app, product }
}

/** The service takes the lock that is free, rebuilds the shard, and sells. */
async function succeed(app: App, product: number): Promise<void> {
  app.engine.fence.close(SHARD, 'its rebuilder is gone', 'wrong')
  await until('an open fence', () => app.engine.fence.isOpen(SHARD))
  await app.order(await app.hold(product, 1, { customer_id: 'bob' }))
  await app.hold(product, 1, { customer_id: 'bob' })
  await uncommitted(app, product)
}

/**
 * A rebuild that halts before a step, or has come to its end where none is named. The service looks at Redis now and then, and may
 * notice by itself that somebody else is at work: then another one is begun.
 */
async function rebuildUntil(app: App, product: number, predecessor: Predecessor, step?: string) {
  for (let tries = 1; ; tries += 1) {
    const rebuild = await predecessor.rebuildUntil((next) => next === step)
    if (step !== undefined && rebuild.next === step) return rebuild
    const error = await rebuild.goOn()
    if (step === undefined && error === undefined) return rebuild
    if (tries === MAX_TRIES) throw error ?? new Error(`it did not come to ${step}`)
    await succeed(app, product)
  }
}

/** Halts a rebuild, lets another one overtake it, and lets it go on. Answers what it spoiled. */
async function overtake(app: App, product: number, predecessor: Predecessor, step: string) {
  const rebuild = await rebuildUntil(app, product, predecessor, step)
  await succeed(app, product)
  const before = await stateOf(app)
  const error = await rebuild.goOn()
  return { error, spoiled: spoiledIn(before, await stateOf(app)) }
}

t.test('who lost its lock in the middle of a rebuild changes nothing that its successor built', async (t) => {
  const { app, product } = await openSale(t)
  const predecessor = await openPredecessor(t, app)
  // From here on Redis has all scripts.
  await succeed(app, product)
  const { steps } = await rebuildUntil(app, product, predecessor)
  await succeed(app, product)
  const telling = steps.filter((step) => Number(step.split(' ')[1]) <= MAX_ALIKE)
  t.ok(telling.length > 30, `${telling.length} steps`)
  for (const step of telling) {
    const { error, spoiled } = await overtake(app, product, predecessor, step)
    t.same(spoiled, [], `halted before ${step}`)
    t.match(error, { code: 'recovering' }, `halted before ${step} it hears that it is too late`)
  }
  t.ok(app.engine.fence.isOpen(SHARD))
  const entries = await app.engine.journal.entries(SHARD, UNITS)
  await Promise.all(entries.map((entry) => app.service.writer.commit(entry)))
  await app.agree(t, 'at the end')
})

const CONTROLS: Array<{
  what: string
  change?: Change
  sql_change?: Change
  at: string[]
  spoils: RegExp[]
}> = [
  {
    what: 'raises the epoch whatever it is',
    change: [['number_of(known) >= number_of(epoch)', 'false']],
    at: ['raise-epoch 1'],
    spoils: [/epoch/],
  },
  {
    what: 'forgets without a look at the epoch',
    change: [
      [
        "if fenced(keys.epoch, epoch) then\n  return { 'fenced' }\nend\nif in_ms == '0' then",
        "if in_ms == '0' then",
      ],
    ],
    at: ['forget 1', 'forget 2'],
    spoils: [/order:/, /parked_payments:/],
  },
  {
    what: 'records its epoch over another one',
    sql_change: [[' where shards.epoch < excluded.epoch', '']],
    at: ['raise-shard 1'],
    spoils: [new RegExp(RECORDS)],
  },
]

for (const { what, change = [], sql_change = [], at, spoils } of CONTROLS) {
  t.test(`control: one that ${what} spoils what its successor built`, async (t) => {
    const { app, product } = await openSale(t)
    const predecessor = await openPredecessor(t, app, { change, sql_change })
    const all: string[] = []
    for (const step of at) all.push(...(await overtake(app, product, predecessor, step)).spoiled)
    for (const spoiled of spoils) t.match(all.join('\n'), spoiled)
  })
}

for (const [name, sql_change, redis_identity] of [
  ['a rebuild that was overtaken does not record that of its successor as done', [], UNFINISHED],
  ['control: one that records whatever the epoch is does', [[' and epoch = $2', ' and $2 > 0']], FINISHED],
] as const) {
  t.test(name, async (t) => {
    const { app } = await openSale(t)
    // It would notice that somebody else is at work.
    await app.close()
    const [first, second] = [await openPredecessor(t, app, { sql_change }), await openPredecessor(t, app)]
    const overtaken = await first.rebuildUntil(is('save-shard 1'))
    const overtaking = await second.rebuildUntil(is('load-product 1'))
    t.match([overtaken.next, overtaking.next], ['save-shard 1', 'load-product 1'])
    const error = await overtaken.goOn()
    if (sql_change.length === 0) t.match(error, { code: 'recovering' })
    t.match(await recordOf(app), { redis_identity })
    t.equal(await overtaking.goOn(), undefined)
    t.match(await recordOf(app), { redis_identity: FINISHED })
  })
}

t.test('keys of the wrong type are forgotten by nobody who was overtaken', async (t) => {
  const { app, product } = await openSale(t)
  const predecessor = await openPredecessor(t, app)
  const holds = app.engine.keys.shard(SHARD, 'holds')
  await app.redis.unlink(holds)
  await app.redis.set(holds, 'text')
  // It has seen the text by then.
  const { error, spoiled } = await overtake(app, product, predecessor, 'forget 1')
  t.same(spoiled, [])
  t.match(error, { code: 'recovering' })
  t.equal(await app.redis.type(holds), 'zset')
})

t.test('a process whose lock dies while it rebuilds goes on with what its successor built', async (t) => {
  const { app, product } = await openSale(t)
  const predecessor = await openPredecessor(t, app)
  await (await predecessor.reopenUntil(() => false)).goOn()
  t.ok(predecessor.engine.fence.isOpen(SHARD))
  for (const step of ['raise-epoch 1', 'forget 1', 'load-product 1']) {
    predecessor.engine.fence.close(SHARD, 'a test wants it', 'wrong')
    predecessor.log.length = 0
    const { next, goOn } = await predecessor.reopenUntil(is(step))
    t.equal(next, step)
    await loseLocks(app)
    await succeed(app, product)
    const before = await stateOf(app)
    t.equal(await goOn(), undefined)
    t.ok(predecessor.engine.fence.isOpen(SHARD), 'it opens in the end')
    t.same(await stateOf(app), before, `halted before ${step}`)
    t.match(predecessor.log, [/rebuilding as epoch/, /can not be opened yet: .* is fenced/, /open$/])
  }
})

t.test('a Redis that was lost meanwhile is not taken for one in the earlier epoch', async (t) => {
  const { app, product } = await openSale(t)
  const predecessor = await openPredecessor(t, app)
  const { goOn } = await predecessor.rebuildUntil(is('raise-epoch 1'))
  await succeed(app, product)
  const { epoch } = await recordOf(app)
  await app.redis.unlink(...(await app.keys()))
  t.match(await goOn(), { code: 'recovering' }, 'it rebuilds the empty one, but can not say so')
  await app.engine.probe()
  await until('an open fence', () => app.engine.fence.isOpen(SHARD))
  t.match(await recordOf(app), { epoch: epoch + 1 })
  await app.agree(t, 'afterwards')
})
