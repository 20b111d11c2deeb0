import t from 'tap'
import { MAX_PREPAID } from '../../src/engine/sweeping.ts'
import { clockAt } from '../fixtures/change.ts'
import { type Fixture, notice, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

/** A hold that is paid for. */
async function prepaid(f: Fixture) {
  const hold = await f.hold(1)
  await f.engine.applyPayment(notice(hold.id, hold.id, 'success'), false)
  return hold
}

t.test('what is due is not named with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await refusedByFence(t, f, (engine) => engine.orderPrepaid(0))
})

t.test('what is due is named from its moment on, in its order, up to a number', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const orders = [await f.order(1), await f.order(1), await f.order(1)]
  const [first, second, third] = orders.map(({ id, pay_by_ms }, at) => ({ id, at_ms: pay_by_ms + 10 * at }))
  for (const { id, at_ms } of [third, second, first].flatMap((one) => one ?? []))
    await f.redis.zadd(f.keys.shard(0, 'deadlines'), 'XX', at_ms, `${id}|1`)
  const read = (moment_ms: number, limit = 10) =>
    unchanged(t, f, () =>
      f.openRun({ change: clockAt(moment_ms) })('read-due', 0, { args: { set: 'deadlines', limit } }),
    )
  t.same(await read((first?.at_ms ?? 0) - 1), ['done'])
  t.same(await read(first?.at_ms ?? 0), ['done', `${first?.id}|1`])
  t.same(await read(third?.at_ms ?? 0), ['done', ...orders.map(({ id }) => `${id}|1`)])
  t.same(await read(third?.at_ms ?? 0, 2), ['done', `${first?.id}|1`, `${second?.id}|1`])
})

t.test('paid holds become orders at their end, many in one step, each once', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 2 * MAX_PREPAID)
  const holds = await Promise.all(Array.from({ length: MAX_PREPAID + 5 }, () => prepaid(f)))
  const last_ms = Math.max(...holds.map(({ expires_at_ms }) => expires_at_ms))
  t.same(await f.engine.orderPrepaid(0), [], 'not before')
  const [released] = holds
  await f.engine.releaseHold(released?.id ?? '')
  const open = () => f.open({ own_connection: true, change: clockAt(last_ms) })
  const swept = await Promise.all([open(), open(), open()].map((engine) => engine.orderPrepaid(0)))
  swept.push(await open().orderPrepaid(0), await open().orderPrepaid(0))
  const ids = swept.flat().map(({ order }) => order?.id)
  t.same(
    ids.sort(),
    holds
      .slice(1)
      .map(({ id }) => id)
      .sort(),
  )
  t.match(await f.stock(), {
    available: 2 * MAX_PREPAID - (MAX_PREPAID + 4),
    held: 0,
    pending: 0,
    sold: MAX_PREPAID + 4,
  })
  t.same(f.closed, [])
  await f.equation('at the end')
})

t.test(
  'a paid hold that can not become an order holds up no other, and has the shard rebuilt once',
  async (t) => {
    for (const [what, spoil] of [
      [
        'its record can not be read',
        (id: string, f: Fixture) => respell(f, id, (member) => member.replace(':', '?')),
      ],
      ['it stands where its id does not say', (id: string, f: Fixture) => move(f, id)],
      [
        'its payments can not be read',
        (id: string, f: Fixture) => f.redis.hset(parked(f, id), 'k', '{"seq":'),
      ],
      ['its payments are of another type', (id: string, f: Fixture) => retype(f, parked(f, id))],
      [
        'something stands where its order will',
        (id: string, f: Fixture) => retype(f, f.keys.id(0, 'order', id)),
      ],
    ] as const) {
      const f = await openFixture(t)
      await f.load(1, 10)
      const [bad, good] = [await prepaid(f), await prepaid(f)]
      await spoil(bad.id, f)
      const later = f.open({ change: clockAt(good.expires_at_ms + 1) })
      t.match(await later.orderPrepaid(0), [{ order: { id: good.id, payment_status: 'paid' } }], what)
      t.match(f.closed, [new RegExp(`^0: a record is broken: prepaid ${bad.id}`)], what)
      t.match(await f.stock(), { held: 1, sold: 1 }, what)
      const alarms = f.alarms.length
      later.fence.open(0, 1)
      t.same(await later.orderPrepaid(0), [], what)
      t.equal(f.closed.length, 1, `${what}: not again for the same`)
      t.equal(f.alarms.length, alarms, `${what}: nor does it ring again`)
    }
  },
)

t.test(
  'a parked payment that can not be read holds up no other, and has the shard rebuilt once',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 10)
    const ids: string[] = []
    for (const key of ['p1', 'p2', 'p3']) {
      const { id } = await f.hold(1)
      await f.engine.releaseHold(id)
      await f.engine.applyPayment(notice(id, key, 'success'), true)
      ids.push(id)
    }
    const [nonsense = '', other_type = '', good] = ids
    await f.redis.hset(parked(f, nonsense), 'p1', 'nonsense')
    await retype(f, parked(f, other_type))
    t.match(await f.engine.settleParked(0), [{ payments: [{ order_id: good, outcome: 'refund_due' }] }])
    t.match(f.closed, [/^0: a record is broken: parked /])
  },
)

const parked = (f: Fixture, id: string) => f.keys.id(0, 'parked_payments', id)
async function retype(f: Fixture, key: string): Promise<void> {
  await f.redis.del(key)
  await f.redis.set(key, 'text')
}
async function respell(f: Fixture, id: string, change: (member: string) => string): Promise<void> {
  const key = f.keys.shard(0, 'prepaid')
  const found = await f.redis.zrange(key, '0', '-1', 'WITHSCORES')
  const at = found.findIndex((one) => one.startsWith(id))
  const [member = '', score = ''] = found.slice(at, at + 2)
  await f.redis.zrem(key, member)
  await f.redis.zadd(key, score, change(member))
}
async function move(f: Fixture, id: string): Promise<void> {
  const key = f.keys.shard(0, 'prepaid')
  const member = (await f.redis.zrange(key, '0', '-1')).find((one) => one.startsWith(id)) ?? ''
  await f.redis.zincrby(key, -5, member)
}
