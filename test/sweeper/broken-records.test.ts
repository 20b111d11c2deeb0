import t, { type Test } from 'tap'
import { verifyShard } from '../../src/recovery/verify.ts'
import { type App, build, newKey } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'

t.jobs = 2

const env = { HOLD_TTL_SECONDS: '2', ORDER_TTL_SECONDS: '2' }
const bare = (id: string) => id.slice(4)

async function verified(t: Test, app: App, when: string) {
  const report = await verifyShard(app.engine, app.service.db, 0, () => Promise.resolve())
  t.same([report.differences, report.products.flatMap(({ differences }) => differences)], [[], []], when)
}

/** Changes a member of a set in its place. */
async function respell(app: App, set: 'holds' | 'prepaid', id: string, to: (member: string) => string) {
  const key = app.engine.keys.shard(0, set)
  const found = await app.redis.zrange(key, '0', '-1', 'WITHSCORES')
  const at = found.findIndex((one) => one.startsWith(id))
  const [member = '', score = ''] = found.slice(at, at + 2)
  await app.redis.zrem(key, member)
  await app.redis.zadd(key, score, to(member))
}

async function retype(app: App, key: 'order' | 'parked_payments', id: string) {
  const name = app.engine.keys.id(0, key, id)
  await app.redis.del(name)
  await app.redis.set(name, 'text')
}

/** Waits for the end of everything: nothing is held or unpaid any more, and the shard has been rebuilt if it had to be. */
const isOver = (app: App, id: number) =>
  until(
    'the end of all',
    async () => {
      const reply = await app.call('GET', `/api/products/${id}/stock`)
      const { held, pending } = (reply.body as { data?: { held: number; pending: number } }).data ?? {}
      return held === 0 && pending === 0
    },
    20_000,
  )

for (const [what, spoil] of [
  [
    'that can not be read',
    (app: App, id: string) => respell(app, 'holds', id, (member) => member.replace(':', '?')),
  ],
  ['that is no hold at all', (app: App, id: string) => respell(app, 'holds', id, () => 'nonsense')],
] as const) {
  t.test(`a dead hold ${what} holds up no other, and its units come back too`, async (t) => {
    const app = await build(t, { env, sweeper: true })
    const id = await app.product(5)
    const [bad] = [await app.hold(id), await app.hold(id), await app.hold(id)]
    await spoil(app, bad ? bare(bad.hold_id) : '')
    await isOver(app, id)
    t.match(await app.stock(id), { available: 5 })
    t.equal(
      app.log.filter((line) => /a record is broken: holds/.test(line)).length,
      2,
      'said as it closes, and by the rebuild',
    )
    await verified(t, app, 'Redis and PostgreSQL agree')
  })
}

for (const [what, spoil] of [
  [
    'whose record can not be read',
    (app: App, id: string) => app.redis.hset(app.engine.keys.id(0, 'order', id), 'order', 'nonsense'),
  ],
  ['under whose key is something else', (app: App, id: string) => retype(app, 'order', id)],
] as const) {
  t.test(`an unpaid order ${what} holds up no other, and is cancelled too`, async (t) => {
    const app = await build(t, { env, sweeper: true })
    const id = await app.product(5)
    const orders = [await app.order(await app.hold(id)), await app.order(await app.hold(id))]
    await spoil(app, bare(orders[0]?.order_id ?? ''))
    await isOver(app, id)
    t.match(await app.stock(id), { available: 5 })
    for (const { order_id } of orders)
      t.match(await app.readOrder(order_id), { cancel_reason: 'payment_timeout' })
    await verified(t, app, 'Redis and PostgreSQL agree')
  })
}

for (const [what, spoil] of [
  [
    'whose payments can not be read',
    (app: App, id: string) => app.redis.hset(app.engine.keys.id(0, 'parked_payments', id), 'k', '{'),
  ],
  ['whose payments are something else', (app: App, id: string) => retype(app, 'parked_payments', id)],
  ['in the place of whose order is something else', (app: App, id: string) => retype(app, 'order', id)],
] as const) {
  t.test(`a paid hold ${what} holds up no other, and becomes an order too`, async (t) => {
    const app = await build(t, { env, sweeper: true })
    const id = await app.product(5)
    const holds = [await app.hold(id), await app.hold(id)]
    for (const { order_id } of holds) await app.paid(order_id, 'success')
    await spoil(app, bare(holds[0]?.hold_id ?? ''))
    await isOver(app, id)
    t.match(await app.stock(id), { available: 3, sold: 2 })
    for (const { order_id } of holds) t.match(await app.readOrder(order_id), { payment_status: 'paid' })
    await verified(t, app, 'Redis and PostgreSQL agree')
  })
}

t.test('money of a paid hold that can not be read is due for refund in the end', async (t) => {
  const app = await build(t, { env: { HOLD_TTL_SECONDS: '1' }, sweeper: true })
  const id = await app.product(5)
  const [bad, good] = [await app.hold(id), await app.hold(id)]
  for (const { order_id } of [bad, good]) await app.paid(order_id, 'success')
  await respell(app, 'prepaid', bare(bad.hold_id), (member) => member.replace(':', '?'))
  await isOver(app, id)
  t.match(await app.stock(id), { available: 4, sold: 1 })
  await app.redis.zadd(app.engine.keys.shard(0, 'parked'), 'XX', 1, bare(bad.hold_id))
  await until('the refund', async () => {
    const rows = await app.sql(`select from payments where order_id = $1 and outcome = 'refund_due'`, [
      bad.order_id,
    ])
    return rows.length === 1
  })
  await verified(t, app, 'Redis and PostgreSQL agree')
})

t.test('a parked payment that can not be read holds up no other, and is due for refund too', async (t) => {
  const app = await build(t, { env, sweeper: true })
  const id = await app.product(5)
  const keys: string[] = []
  for (const spoil of [
    (one: string) => app.redis.hset(app.engine.keys.id(0, 'parked_payments', one), keys[0] ?? '', '{'),
    (one: string) => retype(app, 'parked_payments', one),
    () => Promise.resolve(),
  ]) {
    const hold = await app.hold(id)
    await until(
      'the end of the hold',
      async () => (await app.call('GET', `/api/holds/${hold.hold_id}`)).status === 410,
    )
    keys.push(newKey())
    await app.paid(hold.order_id, 'success', {}, keys.at(-1))
    await spoil(bare(hold.hold_id))
  }
  const settled = async () => {
    // Their time is put forward, again after a rebuild: it would take 16 s.
    const parked = app.engine.keys.shard(0, 'parked')
    const ids = await app.redis.zrange(parked, '0', '-1')
    if (ids.length > 0) await app.redis.zadd(parked, 'XX', ...ids.flatMap((one) => [1, one]))
    return (await app.sql(`select from payments where outcome = 'refund_due'`)).length === keys.length
  }
  await until('all refunds', settled, 20_000)
  await verified(t, app, 'Redis and PostgreSQL agree')
})
