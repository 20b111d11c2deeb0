import t from 'tap'
import type { Change } from '../fixtures/change.ts'
import { type Fixture, openFixture, refusedByFence, TERMS, unchanged } from '../fixtures/redis.ts'

t.test('a product is not loaded with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  for (const product of [1, 2]) {
    await refusedByFence(t, f, (engine) =>
      engine.loadProduct(0, product, TERMS, { total: 10, pending: 0, sold: 0 }),
    )
  }
})

t.test('a product that is new to the shard comes with its counters and its terms', async (t) => {
  const f = await openFixture(t)
  const terms = {
    name: 'Shoe "Zoë" | 漢字',
    unit_amount: 123,
    currency: 'EUR',
    hold_ttl_ms: 5000,
    starts_at_ms: 1,
    ends_at_ms: 4_000_000_000_000,
    paused: false,
    max_per_hold: 2,
    max_per_customer: 3,
  }
  await f.load(7, 100, terms, { pending: 5, sold: 20 })
  t.same(await f.engine.readProduct(7), {
    id: 7,
    terms,
    stock: { total: 100, available: 75, held: 0, pending: 5, sold: 20 },
    state: 'available',
  })
  await f.equation('after it')
})

t.test('a product may come with held units, and with none that are free', async (t) => {
  const f = await openFixture(t)
  const loading = (product_id: number, total: number) =>
    f.engine.loadProduct(0, product_id, TERMS, { total, held: 3, pending: 5, sold: 20 })
  await loading(1, 100)
  t.same(await f.stock(1), { total: 100, available: 72, held: 3, pending: 5, sold: 20 })
  await loading(2, 28)
  t.same(await f.stock(2), { total: 28, available: 0, held: 3, pending: 5, sold: 20 })
  await unchanged(t, f, () => t.rejects(loading(3, 27), { code: 'unavailable' }))
})

t.test('a load says whether the product was known', async (t) => {
  const f = await openFixture(t)
  const load = () =>
    f.run('load-product', 0, {
      args: { product: 1, total: 1, held: 0, pending: 0, sold: 0, version: 0 },
      rest: ['name', 'Shoe', 'unit_amount', 1, 'currency', 'USD'],
    })
  t.same(await load(), ['loaded'])
  t.same(await load(), ['updated'])
})

t.test('a product that the shard must know and does not is not created', async (t) => {
  const f = await openFixture(t)
  const load = () => f.engine.loadProduct(0, 1, TERMS, { total: null })
  t.equal(await unchanged(t, f, load), 'unknown')
  await f.load(1, 10)
  t.equal(await load(), 'updated')
  t.match(await f.stock(), { total: 10, available: 10 })
})

t.test('terms of a lower version come too late, whoever brings them', async (t) => {
  const f = await openFixture(t)
  const load = (version: number, name: string) =>
    f.engine.loadProduct(0, 1, { ...TERMS, name }, { total: 10, version })
  const name = async () => (await f.engine.readProduct(1))?.terms.name
  t.equal(await load(3, 'third'), 'loaded')
  t.equal(await unchanged(t, f, () => load(2, 'second')), 'outdated')
  t.equal(await load(3, 'third again'), 'updated', 'the same version may come twice')
  const versions = Array.from({ length: 40 }, (_, at) => at + 4)
  const engines = [f.open({ own_connection: true }), f.open({ own_connection: true })]
  await Promise.all(
    versions.map((version) =>
      engines[version % 2]?.loadProduct(0, 1, { ...TERMS, name: `${version}` }, { total: 10, version }),
    ),
  )
  t.equal(await name(), '43')
  await f.equation('at the end')
})

t.test('control: without a look at the version the last to come counts', async (t) => {
  const f = await openFixture(t)
  const careless = f.open({ change: [['version < tonumber(had[1] or 0)', 'false']] })
  await careless.loadProduct(0, 1, { ...TERMS, name: 'new' }, { total: 10, version: 2 })
  await careless.loadProduct(0, 1, { ...TERMS, name: 'old' }, { total: 10, version: 1 })
  t.match(await f.engine.readProduct(1), { terms: { name: 'old' } })
})

t.test('a limit by customer is not set on units that nobody has counted by customer', async (t) => {
  const f = await openFixture(t)
  const limit = (max_per_customer: number | null) =>
    f.engine.loadProduct(0, 1, { ...TERMS, max_per_customer }, { total: 10 })
  await f.load(1, 10)
  t.equal(await limit(3), 'updated', 'there are none yet')
  const hold = await f.hold(2, { customer_id: 'ada' })
  t.equal(await limit(2), 'updated', 'they have been counted')
  t.equal(await limit(null), 'updated')
  t.equal(await unchanged(t, f, () => limit(3)), 'recount', 'others may have come since')
  t.match(await f.engine.readProduct(1), { terms: { max_per_customer: null } })
  await f.engine.releaseHold(hold.id)
  t.equal(await limit(3), 'updated', 'nothing is left to count')
  t.match(await f.place(4, { customer_id: 'ada' }), { status: 'limit_exceeded' })
  await f.hold(3, { customer_id: 'ada' })
  await f.equation('at the end')
})

t.test('new terms leave the counters of a known product alone, and a term can be taken away', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10, { max_per_hold: 2, hold_ttl_ms: 5000, starts_at_ms: 1 })
  await f.hold(2)
  await f.order(1)
  const stock = await f.stock()
  await f.engine.loadProduct(
    0,
    1,
    { ...TERMS, name: 'Boot', paused: true },
    { total: 999, pending: 0, sold: 0 },
  )
  t.same(await f.engine.readProduct(1), {
    id: 1,
    terms: { ...TERMS, name: 'Boot', paused: true },
    stock,
    state: 'paused',
  })
  await f.equation('after it')
})

t.test(
  'a product with more committed units than its total, or with counters that are none, is not loaded',
  async (t) => {
    const f = await openFixture(t)
    for (const committed of [
      { total: 10, pending: 6, sold: 5 },
      { total: -1, pending: 0, sold: 0 },
      { total: 1.5, pending: 0, sold: 0 },
      { total: 2 ** 53, pending: 0, sold: 0 },
      { total: 10, pending: -1, sold: 0 },
      { total: Number.NaN, pending: 0, sold: 0 },
    ]) {
      f.alarms.length = 0
      await unchanged(t, f, () =>
        t.rejects(f.engine.loadProduct(0, 1, TERMS, committed), { code: 'unavailable' }),
      )
      t.match(f.alarms, [/load-product: BROKEN/])
    }
    t.equal(await f.engine.readProduct(1), undefined)
  },
)

const loading = async (f: Fixture, change?: Change) => {
  const engines = Array.from({ length: 3 }, () =>
    f.open({ own_connection: true, ...(change ? { change } : {}) }),
  )
  await Promise.all(
    Array.from({ length: 60 }, async (_, at) => {
      const engine = engines[at % 3] ?? f.engine
      await engine.loadProduct(0, 1, TERMS, { total: 100, pending: 0, sold: 0 })
      await f.place(1, { engine })
      await engine.loadProduct(0, 1, TERMS, { total: 100, pending: 0, sold: 0 })
    }),
  )
}

t.test('a product that many processes load while it is sold keeps its counters', async (t) => {
  const f = await openFixture(t)
  await loading(f)
  t.match(await f.stock(), { total: 100, available: 40, held: 60 })
  await f.equation('after the rush')
})

t.test('control: counters that are set at every load forget the holds', async (t) => {
  const f = await openFixture(t)
  await loading(f, [['if not known then', 'if true then']])
  t.ok(((await f.stock())?.held ?? 60) < 60)
})
