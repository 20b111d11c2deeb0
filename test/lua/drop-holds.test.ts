import t from 'tap'
import type { StoredHold } from '../../src/engine/rebuilding.ts'
import type { Hold } from '../../src/engine/records.ts'
import { type Fixture, notice, openFixture, refusedByFence } from '../fixtures/redis.ts'

const MAX_STEP = 500 // holds in one call

/** The ids of all holds. */
const holdsOf = async (f: Fixture) => (await f.engine.allHolds(0)).map(({ id }) => id).sort()

/** These holds as they stand in Redis. */
async function stored(f: Fixture, ...holds: Hold[]): Promise<StoredHold[]> {
  const all = new Map((await f.engine.allHolds(0)).map((hold) => [hold.id, hold]))
  return holds.map(({ id }) => all.get(id) as StoredHold)
}

t.test('holds are not dropped with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const hold = await f.hold(1)
  const drops = (await stored(f, hold)).map((one) => ({ hold: one, is_remembered: true }))
  await refusedByFence(t, f, (engine) => engine.dropHolds(0, drops))
})

t.test(
  'dropped holds are gone, those that are remembered until they would have ended; no unit moves',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const [kept, first, second, third] = [
      ...[await f.hold(1), await f.hold(1)],
      ...[await f.hold(1, { customer_id: 'a|da' }), await f.hold(1)],
    ] as const
    await f.engine.applyPayment(notice(third.id, 'p1', 'success'), false)
    const stock = await f.stock()
    const [one, two, three] = await stored(f, first, second, third)
    if (!one || !two || !three) throw new Error('a hold is missing')
    await f.engine.dropHolds(0, [
      { hold: one, is_remembered: false },
      { hold: two, is_remembered: true },
      { hold: { ...one, member: `A${one.member.slice(1)}` }, is_remembered: false },
      { hold: three, is_remembered: true },
    ])
    t.same(await f.stock(), stock, 'its units are counted when the product is loaded')
    t.same(await holdsOf(f), [kept.id])
    t.match(await f.engine.readHold(kept.id), { status: 'live', hold: kept })
    t.match(await f.engine.readHold(first.id), { status: 'not_found' })
    for (const { id, expires_at_ms } of [second, third]) {
      t.match(await f.engine.readHold(id), {
        status: 'released',
        customer_id: id === second.id ? 'a|da' : null,
      })
      t.match(await f.engine.createOrder(id, null), { status: 'released' })
      t.equal(await f.redis.pexpiretime(f.keys.id(0, 'released', id)), expires_at_ms)
    }
  },
)

t.test('a hold that is remembered past its end is not remembered at all', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const dead = await f.deadHold(1)
  const live = await f.hold(1)
  const drops = (await stored(f, dead, live)).map((hold) => ({ hold, is_remembered: true }))
  await f.engine.dropHolds(0, drops)
  t.match(await f.engine.readHold(dead.id), { status: 'expired' })
  t.match(await f.engine.readHold(live.id), { status: 'released' })
  t.same(await holdsOf(f), [])
})

t.test('more holds than one call takes are dropped all the same', async (t) => {
  const f = await openFixture(t)
  await f.load(1, MAX_STEP * 2)
  const holds = await Promise.all(Array.from({ length: MAX_STEP + 3 }, () => f.hold(1)))
  t.equal((await f.engine.allHolds(0)).length, MAX_STEP + 3)
  await f.engine.dropHolds(
    0,
    (await stored(f, ...holds)).map((hold, at) => ({ hold, is_remembered: at % 3 === 0 })),
  )
  t.same(await holdsOf(f), [])
  const statuses = await Promise.all(holds.map(async ({ id }) => (await f.engine.readHold(id)).status))
  t.same(
    statuses,
    holds.map((_, at) => (at % 3 === 0 ? 'released' : 'not_found')),
  )
})

t.test('the holds of a shard are read with their ends, dead and paid ones too', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const live = await f.hold(1, { customer_id: 'a|b' })
  const dead = await f.deadHold(2)
  const paid = await f.hold(1)
  await f.engine.applyPayment(notice(paid.id, 'p1', 'success'), false)
  const byId = (one: { id: string }, other: { id: string }) => (one.id < other.id ? -1 : 1)
  const found = (await f.engine.allHolds(0)).map(({ member, is_prepaid, ...hold }) => {
    t.equal(is_prepaid, hold.id === paid.id)
    t.match(member, `${hold.id}|1:`)
    return hold
  })
  t.same(found.sort(byId), [live, dead, paid].sort(byId))
})
