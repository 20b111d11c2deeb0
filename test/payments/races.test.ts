import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import type { Entry } from '../../src/engine/records.ts'
import { MAX_DUE_ORDERS } from '../../src/engine/sweeping.ts'
import { conservation } from '../fixtures/conservation.ts'
import { createDatabase, type Database } from '../fixtures/database.ts'
import { times, until } from '../fixtures/until.ts'
import { type Change, type ClockedService, openClockedService } from './fixtures/clocked-service.ts'
import { stateOf } from './fixtures/readings.ts'

const [HOLD_S, ORDER_S] = [100, 900]
const DELIVERIES = 100
/** Races that run at once. */
const BATCH = 50
/** A payment has a longer way to its step than the others, so in every other batch it starts well before them. */
const HEAD_STARTS_MS = [2, 10]
const SWEEPERS = 4
const MAX_DELAY_MS = 10

const open = (t: Test, change: Change = [], database?: Database) =>
  openClockedService(t, { shards: 1, hold_s: HOLD_S, order_s: ORDER_S, change, database })

type Ids = { hold_id: string; order_id: string }
async function hold(on: ClockedService, product_id: number): Promise<Ids> {
  return (await on.post('/api/holds', { product_id, qty: 1 })).body.data
}

async function pay(on: ClockedService, { order_id }: Ids, key: string, status = 'success') {
  const { body } = await on.post('/api/payments/webhook', { idempotency_key: key, order_id, status })
  return String(body.data?.outcome ?? body.code)
}

function count(outcomes: string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1
  return counts
}

async function agree(t: Test, on: ClockedService, when: string): Promise<void> {
  await on.writer.drained()
  const { redis, engine, sql: query } = on
  t.same(await conservation({ redis, keys: engine.keys, shards: 1, query }), [], when)
}

const rowsOf = async (on: ClockedService, key: string) =>
  on.sql<{ outcome: string; first_outcome: string }>(
    'select outcome, first_outcome from payments where idempotency_key = $1',
    [key],
  )

t.test('a payment that is delivered 100 times at once is applied once', async (t) => {
  const on = await open(t)
  const product_id = await on.product(0, 100, 9900)
  for (let round = 0; round < 5; round += 1) {
    const ids = await hold(on, product_id)
    await on.post('/api/orders', { hold_id: ids.hold_id })
    const outcomes = await times(DELIVERIES, () => pay(on, ids, ids.order_id))
    t.same(count(outcomes), { applied: 1, duplicate: DELIVERIES - 1 })
    t.same(await rowsOf(on, ids.order_id), [{ outcome: 'applied', first_outcome: 'applied' }])
  }
  await agree(t, on, 'after them')
})

t.test('control: payments that are not known again have more than one effect', async (t) => {
  const database = await createDatabase(t)
  const on = await open(t, [['if seen then', 'if false then']], database)
  const ids = await hold(on, await on.product(0, 100, 9900))
  await on.post('/api/orders', { hold_id: ids.hold_id })
  const journal = on.engine.keys.shard(0, 'journal')
  const other = new pg.Client({ connectionString: database.url })
  await other.connect()
  // PostgreSQL's row is a second guard, which tells some of them: none is written before every delivery has had its effect.
  await other.query('begin')
  await other.query('lock table payments in share mode')
  await on.writer.drained()
  const paying = times(DELIVERIES, () => pay(on, ids, ids.order_id))
  const effects = await until('an effect of every delivery', async () => {
    const entries = await on.redis.xlen(journal)
    return entries >= DELIVERIES && entries
  })
  await other.end()
  t.equal(effects, DELIVERIES)
  // Whoever waited for too long was told to ask again.
  await paying
})

t.test('while its order is created, a payment that comes 100 times has one effect', async (t) => {
  const on = await open(t)
  const product_id = await on.product(0, 100, 9900)
  const firsts: string[] = []
  for (let round = 0; round < 10; round += 1) {
    const ids = await hold(on, product_id)
    const creating = wait(round * 3).then(() => on.post('/api/orders', { hold_id: ids.hold_id }))
    const { duplicate, ...others } = count(await times(DELIVERIES, () => pay(on, ids, ids.order_id)))
    t.equal((await creating).status, 201)
    const [first = ''] = Object.keys(others)
    t.same({ ...others, duplicate }, { [first]: 1, duplicate: DELIVERIES - 1 })
    t.same(await rowsOf(on, ids.order_id), [{ outcome: 'applied', first_outcome: first }])
    firsts.push(first)
  }
  t.comment(count(firsts))
  await agree(t, on, 'after them')
})

/** Pays, cancels and times out unpaid orders that are due, all at about the same moment. Returns who won each race. */
async function race(on: ClockedService, round: number): Promise<{ winners: string[]; surprises: string[] }> {
  const product_id = await on.product(0, BATCH * 3, 9900)
  const orders = await times(BATCH, async () => {
    const ids = await hold(on, product_id)
    await on.post('/api/orders', { hold_id: ids.hold_id })
    return ids
  })
  await on.pass(0, ORDER_S + 1)
  // Without these a second way would end at the first check of the counters instead.
  const others: Ids = (await on.post('/api/holds', { product_id, qty: BATCH })).body.data
  await on.post('/api/orders', { hold_id: others.hold_id })
  const some = (least_ms = 0) => wait(least_ms + Math.random() * MAX_DELAY_MS)
  const head_start_ms = HEAD_STARTS_MS[round % 2]
  const expiring = times(SWEEPERS, async () => {
    await some(head_start_ms)
    const entries: Entry[] = []
    for (let left = BATCH; left > 0; left -= MAX_DUE_ORDERS)
      entries.push(...(await on.engine.expireOrders(0)))
    await Promise.all(entries.map((entry) => on.writer.commit(entry)))
    return entries.map(({ order }) => `ord_${order?.id}`)
  })
  const playing = orders.map(async (ids) => {
    const paying = some().then(() => pay(on, ids, ids.order_id))
    const cancelling = some(head_start_ms).then(() => on.cancel(ids.order_id))
    return { ...ids, outcome: await paying, is_cancelled: (await cancelling).status === 200 }
  })
  const played = await Promise.all(playing)
  const expired = (await expiring).flat()
  await on.cancel(others.order_id)
  const rows = await on.sql<{ id: string; history: string } & Parameters<typeof stateOf>[0]>(
    'select * from orders where id = any($1)',
    [orders.map(({ order_id }) => order_id)],
  )
  const surprises: string[] = []
  const winners = played.map(({ order_id, outcome, is_cancelled }) => {
    const times_expired = expired.filter((id) => id === order_id).length
    const is_confirmed = outcome === 'applied' && times_expired === 0
    const won = [
      ...(is_cancelled ? ['cancelled'] : []),
      ...Array<string>(times_expired).fill('timed out'),
      ...(is_confirmed ? ['confirmed'] : []),
    ]
    const row = rows.find(({ id }) => id === order_id)
    const found = row && `${outcome} ${stateOf(row)} ${row.history.split(',').length}`
    // An order that timed out is paid all the same, since its unit is still free.
    const wanted = {
      cancelled: 'refund_due requested 2',
      confirmed: 'applied paid 2',
      'timed out': 'applied paid 3',
    }
    const winner = won.length === 1 ? (won[0] as keyof typeof wanted) : undefined
    if (!winner || found !== wanted[winner]) surprises.push(`${won.join(' and ')}: ${found}`)
    return winner ?? 'nobody, or several'
  })
  return { winners, surprises }
}

t.test('paid, cancelled and timed out at the same moment, an order goes one way: 1,000 races', async (t) => {
  const on = await open(t)
  const winners: string[] = []
  for (let round = 0; round < 1_000 / BATCH; round += 1) {
    const result = await race(on, round)
    if (result.surprises.length > 0) t.same(result.surprises, [], `round ${round}`)
    winners.push(...result.winners)
  }
  const counts = count(winners)
  t.same(Object.keys(counts).sort(), ['cancelled', 'confirmed', 'timed out'])
  t.ok(
    Object.values(counts).every((wins) => wins >= 5),
    JSON.stringify(counts),
  )
  t.same(on.alarms, [])
  await agree(t, on, 'after all races')
})

t.test(
  'control: a cancellation that does not look whether the order is paid goes a second way',
  async (t) => {
    const guard = "elseif not is_pending(order) then\n  return { 'not_pending' }"
    const words = "order.order_status, order.cancel_reason = 'cancelled'"
    const on = await open(t, [
      [guard, guard.replace('not is_pending(order)', "order.order_status == 'cancelled'")],
      [words, `order.payment_status, ${words.replace('=', "= 'pending',")}`],
    ])
    const surprises: string[] = []
    for (let round = 0; round < 20 && surprises.length === 0; round += 1)
      surprises.push(...(await race(on, round)).surprises)
    t.ok(surprises.length > 0, String(surprises[0]))
  },
)

/** Two orders whose payment failed, paid at once when one unit is free. Returns what became of the payments. */
async function comeLate(on: ClockedService): Promise<string> {
  const product_id = await on.product(0, 2, 9900)
  const orders = await times(2, async () => {
    const ids = await hold(on, product_id)
    await on.post('/api/orders', { hold_id: ids.hold_id })
    await pay(on, ids, `${ids.order_id} failed`, 'failed')
    return ids
  })
  await hold(on, product_id)
  const outcomes = await Promise.all(orders.map((ids) => pay(on, ids, ids.order_id)))
  return outcomes.sort().join(', ')
}

t.test(
  'of two late payments for one unit, one is applied and one is due for refund: 200 times',
  async (t) => {
    const on = await open(t)
    const outcomes: string[] = []
    for (let round = 0; round < 200 / BATCH; round += 1)
      outcomes.push(...(await times(BATCH, () => comeLate(on))))
    t.same(count(outcomes), { 'applied, refund_due': 200 })
    await agree(t, on, 'after them')
  },
)

t.test('control: where nobody looks whether a unit is free, both are applied', async (t) => {
  const on = await open(t, [['elseif not take_again(keys, order, items, now) then', 'elseif false then']])
  t.equal(await comeLate(on), 'applied, applied')
})
