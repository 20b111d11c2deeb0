import t from 'tap'
import type { HoldPlace } from '../../src/engine/hold-list.ts'
import { clockAt } from '../fixtures/change.ts'
import { type Fixture, LONG_MS, notice, openFixture, refusedByFence } from '../fixtures/redis.ts'

type Place = HoldPlace | null

/** All pages of a list, joined; fails where a page has more than it may. */
async function readAll(f: Fixture, limit: number, product_id: number | null = null, engine = f.engine) {
  const ids: string[] = []
  let pages = 0
  let after: Place = null
  do {
    const page: { holds: Array<{ id: string }>; next: Place } = await engine.readHolds(
      product_id,
      after,
      limit,
    )
    if (page.holds.length > limit) throw new Error('a page is too long')
    ids.push(...page.holds.map(({ id }) => id))
    after = page.next
    pages += 1
  } while (after !== null)
  return { ids, pages }
}

t.test('a list of holds is refused with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.hold(1)
  await refusedByFence(t, f, (engine) => engine.readHolds(null, null, 10))
})

t.test('live holds come soonest end first, dead and ended ones not at all', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 20)
  t.same(await f.engine.readHolds(null, null, 10), { holds: [], next: null })
  const late = await f.hold(1, { engine: f.open({ hold_ttl_ms: 2 * LONG_MS }) })
  const soon = await f.hold(2, { customer_id: 'ada' })
  const [released, ordered] = [await f.hold(1), await f.hold(1)]
  await f.engine.releaseHold(released.id)
  await f.engine.createOrder(ordered.id, null)
  await f.deadHold(3)
  t.same(await f.engine.readHolds(null, null, 10), { holds: [soon, late], next: null })
  t.same(await f.engine.readHolds(null, null, 2), { holds: [soon, late], next: null }, 'just as many')
  const first = await f.engine.readHolds(null, null, 1)
  t.match(first, { holds: [soon], next: [new RegExp(`^${soon.expires_at_ms}([.]|$)`), soon.id] })
  t.same(await f.engine.readHolds(null, first.next, 1), { holds: [late], next: null })
  const at_its_end = f.open({ change: clockAt(soon.expires_at_ms) })
  t.same(await at_its_end.readHolds(null, null, 10), { holds: [late], next: null })
})

t.test('a hold that is paid for is live beyond its end, until it is an order', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const [paid, other] = [await f.hold(1), await f.hold(1)]
  await f.engine.applyPayment(notice(paid.id, 'p1', 'success'), false)
  const after_both = f.open({ change: clockAt(other.expires_at_ms + 1) })
  t.same(await after_both.readHolds(null, null, 10), { holds: [paid], next: null })
  const { holds } = await f.engine.readHolds(null, null, 10)
  t.same(new Set(holds.map(({ id }) => id)), new Set([paid.id, other.id]))
  await f.engine.createOrder(paid.id, null)
  t.same(await f.engine.readHolds(null, null, 10), { holds: [other], next: null })
})

/** Scores do not tell holds apart that end in one millisecond, as happens to some of very many. */
const SAME_SCORE = [['% 1000)', '% 1)']] as const

t.test('pages neither skip nor repeat a hold, though all end in one millisecond', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  const at_once = f.open({ change: [...clockAt((await f.now()) + 1000), ...SAME_SCORE] })
  const placed = await Promise.all(Array.from({ length: 60 }, () => f.hold(1, { engine: at_once })))
  t.equal(new Set(placed.map(({ expires_at_ms }) => expires_at_ms)).size, 1)
  for (const hold of placed.slice(0, 10)) {
    await at_once.applyPayment(notice(hold.id, hold.id, 'success'), false)
  }
  const ids = placed.map(({ id }) => id).toSorted()
  for (const limit of [1, 7, 60]) t.same((await readAll(f, limit)).ids, ids, `pages of ${limit}`)
})

t.test('nor while holds are added, and end, between the pages', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 1000)
  const placed = await Promise.all(Array.from({ length: 40 }, () => f.hold(1)))
  const ids = new Set(placed.map(({ id }) => id))
  const seen: string[] = []
  let after: Place = null
  do {
    const page: { holds: Array<{ id: string }>; next: Place } = await f.engine.readHolds(null, after, 5)
    seen.push(...page.holds.map(({ id }) => id))
    after = page.next
    // The last one seen is where the next page begins, and it goes.
    const last = page.holds.at(-1)
    if (last) await f.engine.releaseHold(last.id)
    await f.hold(1, { engine: f.open({ hold_ttl_ms: 1000 }) })
  } while (after !== null)
  t.equal(new Set(seen).size, seen.length, 'none twice')
  t.same(
    [...ids].filter((id) => !seen.includes(id)),
    [],
    'none skipped',
  )
})

t.test('the holds of one product are found among many of others, by bounded steps', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 2000)
  await f.load(11, 2000)
  await Promise.all(Array.from({ length: 700 }, () => f.hold([[11, 1]])))
  const cart = await f.hold([
    [11, 1],
    [1, 2],
  ])
  await Promise.all(Array.from({ length: 600 }, () => f.hold([[11, 1]])))
  const last = await f.hold([[1, 1]], { engine: f.open({ hold_ttl_ms: 2 * LONG_MS }) })
  const first_page = await f.engine.readHolds(1, null, 10)
  t.same(first_page.holds, [], 'a page may be empty')
  t.ok(first_page.next, 'and say that there is more')
  const { ids, pages } = await readAll(f, 10, 1)
  t.same(ids, [cart.id, last.id])
  t.ok(pages <= 4, `${pages} pages for 1,302 holds`)
  t.same((await readAll(f, 100, 7)).ids, [], 'none of a product that nobody holds')
})

t.test('the holds of several shards come in one order', async (t) => {
  const f = await openFixture(t, { shards: 3 })
  for (let product = 1; product <= 9; product += 1) {
    await f.load(product, 20, { hold_ttl_ms: LONG_MS + ((product * 37) % 9) * 1000 })
  }
  const placed = await Promise.all(Array.from({ length: 90 }, (_, at) => f.hold([[(at % 9) + 1, 1]])))
  const { holds } = await f.engine.readHolds(null, null, 100)
  t.same(new Set(holds.map(({ id }) => id)), new Set(placed.map(({ id }) => id)))
  const ends = holds.map(({ expires_at_ms }) => expires_at_ms)
  t.same(
    ends,
    ends.toSorted((one, other) => one - other),
    'soonest end first',
  )
  const ids = holds.map(({ id }) => id)
  for (const limit of [1, 7]) t.same((await readAll(f, limit)).ids, ids, `pages of ${limit}`)
  const of_two = holds.filter(({ items }) => items[0]?.product_id === 2).map(({ id }) => id)
  t.same((await readAll(f, 7, 2)).ids, of_two)
})

t.test('control: pages that go on after a millisecond, not after a hold, skip', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  const at_once = f.open({ change: [...clockAt((await f.now()) + 1000), ...SAME_SCORE] })
  await Promise.all(Array.from({ length: 20 }, () => f.hold(1, { engine: at_once })))
  const careless = f.open({
    change: [["comes_after(id_of(redis.call('ZRANGE', key, middle, middle)[1]), after_id)", 'false']],
  })
  t.ok((await readAll(f, 7, null, careless)).ids.length < 20)
})
