import t from 'tap'
import { MAX_PRODUCT_AMOUNT } from '../../src/engine/products.ts'
import { count, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

const STEP = 125 // holds that one step takes back

t.test('an adjustment is refused with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await refusedByFence(t, f, (engine) => engine.adjustStock(1, 5, 'k', null))
})

t.test('a key is refused with another delta, and answered as before with the same one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const first = await f.engine.adjustStock(1, -10, 'k', 'shelf broke')
  if (first.status !== 'adjusted') throw new Error(first.status)
  const { entry } = first
  t.match(entry, {
    order: null,
    payments: [],
    adjustment: { product_id: 1, delta: -10, idempotency_key: 'k', reason: 'shelf broke' },
  })
  t.same(await f.engine.journal.readEntry(0, entry.entry_id), entry)
  t.same(await unchanged(t, f, () => f.engine.adjustStock(1, 10, 'k', null)), { status: 'key_reused' })
  const again = await unchanged(t, f, () => f.engine.adjustStock(1, -10, 'k', null))
  t.same(again, { status: 'replayed', entry_id: entry.entry_id })
  await f.engine.journal.dropEntries(0, [entry.entry_id], 1, { writer: 'w', commits: 1 })
  t.same(await f.engine.adjustStock(1, -10, 'k', null), { status: 'replayed', entry_id: '' })
  await f.equation('at the end')
})

t.test('the same key serves another product', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.load(2, 10)
  t.match(await f.engine.adjustStock(1, 5, 'k', null), { status: 'adjusted' })
  t.match(await f.engine.adjustStock(2, -5, 'k', null), { status: 'adjusted' })
  t.match(await f.stock(1), { total: 15, available: 15 })
  t.match(await f.stock(2), { total: 5, available: 5 })
})

t.test('a product that the shard does not know is not found', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  t.same(await unchanged(t, f, () => f.engine.adjustStock(9, 5, 'k', null)), { status: 'not_found' })
})

t.test('units in use are not taken out, and a refusal leaves the key free', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.hold(3)
  await f.order(2)
  const refused = await unchanged(t, f, () => f.engine.adjustStock(1, -6, 'k', null))
  t.same(refused, { status: 'stock_in_use', available: 5 })
  t.match(await f.engine.adjustStock(1, -5, 'k', null), { status: 'adjusted' })
  t.match(await f.stock(), { total: 5, available: 0, held: 3, pending: 2 })
  await f.equation('after it')
  t.match(await f.engine.adjustStock(1, 7, 'k2', null), { status: 'adjusted' })
  t.match(await f.stock(), { total: 12, available: 7 })
  await f.equation('at the end')
})

t.test(
  'units of dead holds can be taken out, without any sweeper, and only where it needs them',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 12, { max_per_customer: 12 })
    await f.hold(1, { customer_id: 'ada' })
    await f.deadHold(9, 'ada')
    t.match(await f.engine.adjustStock(1, -2, 'free', null), { status: 'adjusted' })
    t.match(await f.stock(), { total: 10, held: 10, available: 0 }, 'the dead hold was left alone')
    t.match(await f.engine.adjustStock(1, -9, 'k', null), { status: 'adjusted' })
    t.match(await f.stock(), { total: 1, held: 1, available: 0 })
    await f.equation('after it')
  },
)

t.test(
  'behind more dead holds than a step takes back an adjustment is asked again, not refused',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 5)
    await f.load(2, STEP)
    const short = f.open({ hold_ttl_ms: 1 })
    const dead = await Promise.all(Array.from({ length: STEP }, () => f.hold([[2, 1]], { engine: short })))
    await f.until(Math.max(...dead.map((hold) => hold.expires_at_ms)))
    await f.deadHold(5)
    const raw = await f.run('adjust-stock', 0, {
      args: {
        product: 1,
        delta: -5,
        key: 'k',
        reason: '',
        idem_ttl_ms: 1000,
        max_amount: MAX_PRODUCT_AMOUNT,
      },
      keys: [f.keys.idem(0, 'stock:1', 'k')],
    })
    t.same(raw, ['backlog'])
    await f.equation('after the first step')
    t.match(await f.engine.adjustStock(1, -5, 'k', null), { status: 'adjusted' })
    t.match(await f.stock(), { total: 0, available: 0 })
    await f.equation('at the end')
  },
)

t.test('a product never has more units, nor is it worth more, than can be counted', async (t) => {
  const f = await openFixture(t)
  const most = MAX_PRODUCT_AMOUNT
  await f.load(1, most - 10, { unit_amount: 1 })
  t.match(await f.engine.adjustStock(1, 10, 'k', null), { status: 'adjusted' })
  t.match(await f.stock(), { total: most, available: most })
  for (const [delta, unit_amount] of [
    [1, 1],
    [1, 0],
    [Number.MAX_SAFE_INTEGER, 0],
  ] as const) {
    await f.load(1, most, { unit_amount })
    const refused = await unchanged(t, f, () => f.engine.adjustStock(1, delta, 'k2', null))
    t.same(refused, { status: 'too_much' }, `${delta} more at ${unit_amount}`)
  }
  const out = await f.engine.adjustStock(1, -most, 'k3', null)
  t.match(out, { entry: { adjustment: { delta: -most } } })
  t.match(await f.stock(), { total: 0, available: 0 })
  await f.load(1, 0, { unit_amount: most })
  t.match(await f.engine.adjustStock(1, 1, 'k4', null), { status: 'adjusted' })
  t.same(await f.engine.adjustStock(1, 1, 'k5', null), { status: 'too_much' })
  await f.load(1, 0, { unit_amount: Number.MAX_SAFE_INTEGER })
  t.match(await f.engine.adjustStock(1, -1, 'k6', null), { status: 'adjusted' }, 'less is always countable')
  await f.equation('at the end')
})

t.test('a reason may contain anything', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  for (const reason of ['a|b', '"quoted"', 'Zoë ✓\n', ' ', null]) {
    const answer = await f.engine.adjustStock(1, 1, `k${reason}`, reason)
    t.match(answer, { entry: { adjustment: { reason, idempotency_key: `k${reason}` } } })
  }
})

t.test(
  'buyers and adjustments that come at once share the units between them, whoever comes first',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 100)
    const engines = Array.from({ length: 3 }, () => f.open({ own_connection: true }))
    const [a = f.engine, b = f.engine, c = f.engine] = engines
    const answers = await Promise.all(
      Array.from({ length: 150 }, (_, at) => {
        if (at % 3 === 0) return a.adjustStock(1, -2, `k${Math.floor(at / 6)}`, null)
        return f.place(1, { engine: at % 3 === 1 ? b : c })
      }),
    )
    const { placed = 0, adjusted = 0, replayed = 0 } = count(answers)
    t.equal(replayed, adjusted, 'each key takes units out once')
    const total = 100 - 2 * adjusted
    t.match(await f.stock(), { total, available: total - placed, held: placed })
    t.ok(total - placed < 2, 'and none stays unsold without need')
    await f.equation('after the rush')
  },
)

t.test('control: a key that is not remembered takes units out twice', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  const remembers =
    "redis.call('SET', keys.idem, table.concat({ int(delta), step_epoch, entry }, '|'), 'PX', idem_ttl_ms)"
  const careless = f.open({ change: [[remembers, '']] })
  await careless.adjustStock(1, -2, 'k', null)
  await careless.adjustStock(1, -2, 'k', null)
  t.match(await f.stock(), { total: 96 })
})

t.test('a key that was used in an earlier epoch is new: PostgreSQL was asked before', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.engine.adjustStock(1, 5, 'k', null)
  const next = await f.next()
  t.match(await next.adjustStock(1, 3, 'k', null), { status: 'adjusted' })
  t.match(await next.adjustStock(1, 3, 'k', null), { status: 'replayed' })
  t.match(await next.adjustStock(1, 5, 'k', null), { status: 'key_reused' })
  t.match(await next.readProduct(1), { stock: { total: 18 } })
})

t.test('control: one who believes results of every epoch does not change the stock', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.engine.adjustStock(1, 5, 'k', null)
  const trusting = await f.next({ change: [['is_of_this_epoch(made_in)', 'made_in']] })
  t.match(await trusting.adjustStock(1, 5, 'k', null), { status: 'replayed' })
})
