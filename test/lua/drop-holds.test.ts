import t from 'tap'
import { type Fixture, notice, openFixture, refusedByFence } from '../fixtures/redis.ts'

const MAX_STEP = 500 // holds in one call

/** Whether the three places of a hold agree, and how many holds there are. */
async function holdsOf(f: Fixture): Promise<string[]> {
  const [records, expiry, prepaid] = await Promise.all([
    f.redis.hkeys(f.keys.shard(0, 'holds')),
    f.redis.zrange(f.keys.shard(0, 'expiry'), '0', '-1'),
    f.redis.zrange(f.keys.shard(0, 'prepaid'), '0', '-1'),
  ])
  const ends = [...expiry, ...prepaid].sort()
  if (JSON.stringify(records.sort()) !== JSON.stringify(ends)) throw new Error('records and ends differ')
  return ends
}

t.test('holds are not dropped with another epoch, nor without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const hold = await f.hold(1)
  await refusedByFence(t, f, (engine) => engine.dropHolds(0, [{ hold, is_remembered: true }]))
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
    await f.engine.dropHolds(0, [
      { hold: first, is_remembered: false },
      { hold: second, is_remembered: true },
      { hold: { ...kept, id: `AAAAAAAAAAAAAAAA${kept.id.slice(16)}` }, is_remembered: false },
      { hold: third, is_remembered: true },
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
  await f.engine.dropHolds(0, [
    { hold: dead, is_remembered: true },
    { hold: live, is_remembered: true },
  ])
  t.match(await f.engine.readHold(dead.id), { status: 'expired' })
  t.match(await f.engine.readHold(live.id), { status: 'released' })
  t.same(await holdsOf(f), [])
})

t.test('more holds than one call takes are dropped all the same', async (t) => {
  const f = await openFixture(t)
  await f.load(1, MAX_STEP * 2)
  const holds = await Promise.all(Array.from({ length: MAX_STEP + 3 }, () => f.hold(1)))
  t.equal((await f.engine.allHolds(0)).holds.length, MAX_STEP + 3)
  await f.engine.dropHolds(
    0,
    holds.map((hold, at) => ({ hold, is_remembered: at % 3 === 0 })),
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
  const { holds: found } = await f.engine.allHolds(0)
  const byId = (one: { id: string }, other: { id: string }) => (one.id < other.id ? -1 : 1)
  t.same(found.sort(byId), [live, dead, paid].sort(byId))
})
