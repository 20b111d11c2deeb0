import t from 'tap'
import { clockAt } from '../fixtures/change.ts'
import { notice, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

const TTL_MS = 60_000

t.test('an extension is refused with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  await refusedByFence(t, f, (engine) => engine.extendHold(id))
})

t.test('a hold that is an order, released, unknown or expired is not extended', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 3)
  const order = await f.order(1)
  const released = await f.hold(1)
  await f.engine.releaseHold(released.id)
  const dead = await f.deadHold(1)
  for (const [id, status] of [
    [order.id, 'already_used'],
    [released.id, 'released'],
    [`AAAAAAAAAAAAAAAA${released.id.slice(16)}`, 'not_found'],
    [dead.id, 'expired'],
  ] as const) {
    t.same(await unchanged(t, f, () => f.engine.extendHold(id)), { status })
  }
  await f.hold(2)
  t.same(
    await unchanged(t, f, () => f.engine.extendHold(dead.id)),
    { status: 'expired' },
    'nor once another buyer has its units',
  )
  await f.equation('at the end')
})

t.test(
  'an extension lets the hold end one full TTL from now, at most three TTLs after it was placed',
  async (t) => {
    const f = await openFixture(t, { hold_ttl_ms: TTL_MS })
    await f.load(1, 10)
    const hold = await f.hold(1)
    const extendAt = (moment_ms: number) => f.open({ change: clockAt(moment_ms) }).extendHold(hold.id)
    const start = hold.created_at_ms
    const ends = async (moment_ms: number, expires_at_ms: number) => {
      t.same(await extendAt(moment_ms), { status: 'extended', hold: { ...hold, expires_at_ms } })
      await f.equation('after an extension')
    }
    const refused = async (moment_ms: number, status: string) => {
      t.same(await unchanged(t, f, () => extendAt(moment_ms)), { status })
    }
    await refused(start, 'extension_limit')
    await ends(start + 1, start + 1 + TTL_MS)
    await refused(start + 1, 'extension_limit')
    await refused(start, 'extension_limit')
    await ends(start + TTL_MS, start + 2 * TTL_MS)
    await refused(start + 2 * TTL_MS, 'expired')
    await ends(start + 2 * TTL_MS - 1, start + 3 * TTL_MS - 1)
    await ends(start + 2 * TTL_MS + 5000, start + 3 * TTL_MS)
    await refused(start + 3 * TTL_MS - 1, 'extension_limit')
    await refused(start + 3 * TTL_MS, 'expired')
    t.match(await f.engine.readHold(hold.id), { status: 'live', hold: { expires_at_ms: start + 3 * TTL_MS } })
  },
)

t.test('the TTL of a hold is the one it was placed with', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10, { hold_ttl_ms: TTL_MS })
  const hold = await f.hold(1)
  await f.load(1, 10, { hold_ttl_ms: 1 })
  const later = f.open({ hold_ttl_ms: 5, change: clockAt(hold.created_at_ms + 100) })
  t.match(await later.extendHold(hold.id), {
    status: 'extended',
    hold: { expires_at_ms: hold.created_at_ms + 100 + TTL_MS },
  })
})

t.test('an extended hold lives past its first end, and dies at its new one', async (t) => {
  const f = await openFixture(t, { hold_ttl_ms: TTL_MS })
  await f.load(1, 1)
  const hold = await f.hold(1)
  await f.open({ change: clockAt(hold.expires_at_ms - 1) }).extendHold(hold.id)
  const at = (moment_ms: number) => f.open({ change: clockAt(moment_ms) })
  const end = hold.expires_at_ms - 1 + TTL_MS
  t.match(await at(end - 1).expireHolds(0), { count: 0 })
  t.match(await at(end - 1).readHold(hold.id), { status: 'live' })
  t.match(await at(end).readHold(hold.id), { status: 'expired' })
  t.match(await at(end).expireHolds(0), { count: 1, late_ms: 0 })
  t.match(await f.stock(), { available: 1, held: 0 })
  t.match(await at(end).readHold(hold.id), { status: 'expired' })
  await f.equation('at the end')
})

t.test('a hold that is paid for is extended as any other, and still does not expire', async (t) => {
  const f = await openFixture(t, { hold_ttl_ms: TTL_MS })
  await f.load(1, 1)
  const hold = await f.hold(1)
  await f.engine.applyPayment(notice(hold.id, 'p1', 'success'), false)
  const moment_ms = hold.created_at_ms + 1000
  const engine = f.open({ change: clockAt(moment_ms) })
  t.match(await engine.extendHold(hold.id), {
    status: 'extended',
    hold: { expires_at_ms: moment_ms + TTL_MS },
  })
  await f.equation('after the extension')
  const later = f.open({ change: clockAt(moment_ms + TTL_MS - 1) })
  t.same(await later.orderPrepaid(0), [])
  const due = f.open({ change: clockAt(moment_ms + TTL_MS) })
  t.match(await due.orderPrepaid(0), [{ order: { id: hold.id } }])
})
