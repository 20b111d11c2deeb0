import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import type { Hold } from '../../src/engine/records.ts'
import { type Change, clockAt } from '../fixtures/change.ts'
import {
  count,
  EPOCH,
  type Fixture,
  LONG_MS,
  notice,
  openFixture,
  refusedByFence,
  unchanged,
} from '../fixtures/redis.ts'

const STEP = 125 // holds that one step takes back

/** Many holds of one unit of product 1 that are all dead. */
async function deadHolds(f: Fixture, holds: number): Promise<Hold[]> {
  const short = f.open({ hold_ttl_ms: 1 })
  const dead = await Promise.all(Array.from({ length: holds }, () => f.hold(1, { engine: short })))
  await f.until(Math.max(...dead.map((hold) => hold.expires_at_ms)))
  return dead
}

t.test('a sweep is refused with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.deadHold(1)
  await refusedByFence(t, f, (engine) => engine.expireHolds(0))
})

t.test('a sweep gives back the units of dead holds and leaves live ones alone', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10, { max_per_customer: 5 })
  await f.hold(1, { customer_id: 'ada' })
  await f.deadHold(2, 'ada')
  const last = await f.deadHold(3, 'bob')
  const answer = await f.engine.expireHolds(0)
  t.match(answer, { count: 2, are_more: false })
  t.ok(answer.late_ms >= (await f.now()) - last.expires_at_ms - 1000, 'it says how late it came')
  t.match(await f.stock(), { available: 9, held: 1 })
  await f.equation('after the sweep')
  const again = await unchanged(t, f, () => f.engine.expireHolds(0))
  t.same(again, { count: 0, late_ms: 0, are_more: false })
})

t.test('a sweep of an empty shard changes nothing', async (t) => {
  const f = await openFixture(t)
  const answer = await unchanged(t, f, () => f.engine.expireHolds(0))
  t.same(answer, { count: 0, late_ms: 0, are_more: false })
})

t.test('a hold is swept at expires_at and not a millisecond before', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const hold = await f.hold(1)
  const early = f.open({ change: clockAt(hold.expires_at_ms - 1) })
  t.match(await unchanged(t, f, () => early.expireHolds(0)), { count: 0 })
  t.match(await f.open({ change: clockAt(hold.expires_at_ms) }).expireHolds(0), { count: 1, late_ms: 0 })
  await f.equation('after the sweep')
})

t.test('a sweep never touches a hold that became an order', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const orders = [await f.order(1), await f.order(2), await f.order(3)]
  const [pending, paid, cancelled] = orders as [(typeof orders)[0], (typeof orders)[0], (typeof orders)[0]]
  await f.engine.applyPayment(notice(paid.id, 'p1', 'success'), false)
  await f.engine.cancelOrder(cancelled.id)
  const later = f.open({ change: clockAt(pending.hold_expires_at_ms + 1000) })
  t.match(await unchanged(t, f, () => later.expireHolds(0)), { count: 0 })
  t.match(await f.stock(), { available: 7, pending: 1, sold: 2 })
  await f.equation('after the sweep')
})

t.test('control: an order that leaves its hold behind has its units taken by the sweep', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.hold(9)
  const hold = await f.hold(1)
  const drops = 'remove_hold(own, request.hold)\n'
  await f.open({ change: [[drops, '']] }).createOrder(hold.id, null)
  const stored = (await f.engine.allHolds(0)).find(({ id }) => id === hold.id)
  t.ok(stored)
  t.match(await f.stock(), { available: 0, held: 9, pending: 1 })
  await f.redis.zadd(f.keys.shard(0, 'holds'), 1, stored?.member ?? '')
  t.match(await f.engine.expireHolds(0), { count: 1 })
  t.match(await f.stock(), { available: 1 }, 'a unit is free that another buyer holds')
})

t.test(
  'many holds that die at once are taken back in bounded steps, and the counters are right all the while',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 2000)
    await f.hold(10)
    const dead = await deadHolds(f, STEP * 6 + 1)
    const reader = f.open({ own_connection: true })
    let is_sweeping = true
    const reading = (async () => {
      let reads = 0
      while (is_sweeping) {
        const stock = (await reader.readProduct(1))?.stock
        if (!stock) throw new Error('the product is gone')
        const { available, held, pending, sold, total } = stock
        if (available + held + pending + sold !== total || held < 10 || (held - 11) % STEP > 0) return stock
        reads += 1
      }
      return reads
    })()
    const counts: number[] = []
    for (let are_more = true; are_more; ) {
      const answer = await f.engine.expireHolds(0)
      counts.push(answer.count)
      are_more = answer.are_more
      await f.equation('after a step')
    }
    is_sweeping = false
    t.same(counts, [STEP, STEP, STEP, STEP, STEP, STEP, 1])
    t.type(await reading, 'number', 'every read in between added up')
    t.match(await f.stock(), { available: 1990, held: 10 })
    t.match(await f.engine.createOrder(dead.at(-1)?.id ?? '', null), { status: 'expired' })
  },
)

t.test(
  'a dead hold whose record can not be read holds up no other, and has the shard rebuilt once',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    await f.deadHold(1)
    await f.redis.zadd(f.keys.shard(0, 'holds'), 1, 'nonsense', 2, 'x|1?1|USD|1|')
    t.match(await f.engine.expireHolds(0), { count: 1 })
    t.match(f.closed, [/a record is broken: holds nonsense/])
    f.engine.fence.open(0, EPOCH)
    t.match(await f.stock(), { available: 10, held: 0 })
    t.match(await f.engine.expireHolds(0), { count: 0, are_more: false })
    t.equal(f.closed.length, 1, 'not again for the same')
  },
)

t.test('dead holds of a product whose counters are broken hold up no others', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.load(2, 10)
  const short = f.open({ hold_ttl_ms: 1 })
  await f.hold([[2, 1]], { engine: short })
  await f.deadHold(1)
  await f.redis.hset(f.keys.shard(0, 'products'), '2:held', 'many')
  const sweeping = f.open()
  t.match(await sweeping.expireHolds(0), { count: 1 })
  t.match(await f.stock(), { available: 10, held: 0 })
  t.notOk(sweeping.fence.isOpen(0), 'the shard is closed: a rebuild counts them anew')
  t.same(f.alarms, [])
})

t.test('a dead hold that was extended leaves nothing behind', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const hold = await f.hold(1)
  await f.open({ change: clockAt(hold.created_at_ms + 5) }).extendHold(hold.id)
  t.equal(await f.redis.exists(f.keys.shard(0, 'extended')), 1)
  const later = f.open({ change: clockAt(hold.expires_at_ms + 4) })
  t.match(await later.expireHolds(0), { count: 0 })
  t.match(await f.open({ change: clockAt(hold.expires_at_ms + 5) }).expireHolds(0), { count: 1 })
  t.equal(await f.redis.exists(f.keys.shard(0, 'extended')), 0)
  await f.equation('at the end')
})

/** Order, release and two sweeps of each hold at the moment at which it ends, on four connections. */
const ending = async (f: Fixture, rounds: number, hold_ttl_ms: number, change?: Change) => {
  await f.load(1, rounds + 50)
  await f.hold(50)
  const open = () => f.open({ own_connection: true, hold_ttl_ms, ...(change ? { change } : {}) })
  const [a, b, c, d] = [open(), open(), open(), open()]
  const results: Array<{ status: string }> = []
  for (let round = 0; round < rounds; round += 1) {
    const { id } = await f.hold(1, { engine: a })
    const steps = [
      () => a.createOrder(id, null).then(({ status }) => status === 'created' && 'ordered'),
      () => b.releaseHold(id).then(({ status }) => status === 'released' && 'released'),
      () => c.expireHolds(0).then((answer) => answer.count === 1 && 'expired'),
      () => d.expireHolds(0).then((answer) => answer.count === 1 && 'expired'),
    ]
    if (round % 3 > 0) await f.until((await f.now()) + (round % 3))
    const turned = [...steps.slice(round % 4), ...steps.slice(0, round % 4)]
    // Half of the time they come one after the other: an order waits for others first, and would be last.
    const apart_ms = Math.floor(round / 4) % 2
    const winners = await Promise.all(
      turned.map(async (step, at) => {
        if (apart_ms > 0) await setTimeout(at * apart_ms)
        return step()
      }),
    )
    const won = winners.filter((winner) => winner !== false)
    if (won.length === 0) {
      // It ended after all of them: the next sweep takes it.
      await f.until((await f.now()) + 3)
      if ((await f.engine.expireHolds(0)).count === 1) won.push('expired')
    }
    results.push({ status: won.sort().join(' + ') })
  }
  return count(results)
}

t.test('of an order, a release and two sweeps at the end of a hold, exactly one has it', async (t) => {
  const f = await openFixture(t)
  const counts = await ending(f, 200, 2)
  const { ordered = 0, released = 0, expired = 0, ...others } = counts
  t.same(others, {}, JSON.stringify(counts))
  t.match(await f.stock(), { available: released + expired, held: 50, pending: ordered })
  await f.equation('after the race')
})

t.test('control: where an order leaves the hold in place, several have it', async (t) => {
  const f = await openFixture(t)
  const drops = 'remove_hold(own, request.hold)\n'
  const counts = await ending(f, 30, LONG_MS, [[drops, '']])
  t.ok(
    Object.keys(counts).some((winners) => winners.includes(' + ')),
    JSON.stringify(counts),
  )
  const held = (await f.stock())?.held ?? 50
  t.ok(held < 50, `holds of 50 units live, ${held} are counted`)
})
