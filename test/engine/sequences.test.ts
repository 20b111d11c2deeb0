import fc from 'fast-check'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Engine } from '../../src/engine/engine.ts'
import type { PaymentNotice } from '../../src/engine/payments.ts'
import { type Change, clockUnder, setClock } from '../fixtures/change.ts'
import { testRedisUrl } from '../fixtures/connect.ts'
import { type Fixture, idem, notice, openFixture } from '../fixtures/redis.ts'

/*
  Steps in any sequence, by a clock that the sequence moves. After each of them the stock equation must hold, with every
  part what holds and orders add up to, and what was final must stay as it was.
*/
const RUNS = 25
const MAX_STEPS = 60
const HOLD_TTL_MS = 1000
const ORDER_TTL_MS = 1500
const PARK_TTL_MS = 3 * HOLD_TTL_MS + 10_000
/** One for all runs, since Redis keeps every script that it was ever sent. */
const CLOCK_KEY = `clock-${process.pid}-${Date.now()}`
const CUSTOMERS = [null, 'ada', 'bob|1'] as const

const place = fc.record({
  step: fc.constant('place' as const),
  lines: fc.array(fc.tuple(fc.constantFrom(1, 2, 3), fc.integer({ min: 1, max: 3 })), {
    minLength: 1,
    maxLength: 3,
  }),
  customer: fc.constantFrom(...CUSTOMERS),
  key: fc.option(fc.constantFrom('h1', 'h2'), { freq: 3 }),
})
const on_hold = fc.record({
  step: fc.constantFrom('release' as const, 'extend' as const, 'cancel' as const),
  nth: fc.nat(),
})
const create = fc.record({
  step: fc.constant('create' as const),
  nth: fc.nat(),
  key: fc.option(fc.constantFrom('o1', 'o2'), { freq: 3 }),
})
const pay = fc.record({
  step: fc.constant('pay' as const),
  nth: fc.nat(),
  key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'),
  status: fc.constantFrom('success' as const, 'success' as const, 'failed' as const),
  is_wrong: fc.boolean(),
})
/** The sender of a payment delivers it again. */
const repeat = fc.record({ step: fc.constant('repeat' as const), nth: fc.nat() })
const sweep = fc.record({ step: fc.constantFrom('holds' as const, 'orders' as const, 'parked' as const) })
const adjust = fc.record({
  step: fc.constant('adjust' as const),
  product: fc.constantFrom(1, 2, 3),
  delta: fc.integer({ min: -6, max: 6 }).filter((delta) => delta !== 0),
})
const wait = fc.record({
  step: fc.constant('wait' as const),
  ms: fc.constantFrom(1, 300, 999, 1000, 1500, PARK_TTL_MS),
})
const sequence = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: place },
    { weight: 4, arbitrary: create },
    { weight: 4, arbitrary: pay },
    { weight: 2, arbitrary: repeat },
    { weight: 3, arbitrary: on_hold },
    { weight: 3, arbitrary: sweep },
    { weight: 1, arbitrary: adjust },
    { weight: 3, arbitrary: wait },
  ),
  { minLength: 10, maxLength: MAX_STEPS, size: 'max' },
)
type Step =
  (typeof sequence extends fc.Arbitrary<infer Steps> ? Steps : never) extends Array<infer It> ? It : never

/** Plays a sequence on a shard of its own. Throws at the first step after which something is wrong. */
async function play(t: Test, steps: Step[], change: Change): Promise<void> {
  const f = await openFixture(t, {
    hold_ttl_ms: HOLD_TTL_MS,
    order_ttl_ms: ORDER_TTL_MS,
    may_miss_changes: true,
  })
  let now_ms = await f.now()
  await setClock(f.redis, CLOCK_KEY, now_ms)
  // The journal keeps the real time, and nobody commits it here.
  const never_full = ['if journal_is_full(', 'if false and journal_is_full('] as const
  const engine = f.open({ change: [...clockUnder(CLOCK_KEY), never_full, ...change] })
  await f.load(1, 4)
  await f.load(2, 5, { max_per_customer: 4, unit_amount: 100 })
  await f.load(3, 3, { currency: 'EUR', max_per_hold: 2 })
  const seen: Seen = {
    ids: [],
    ends: new Map(),
    prepaid: new Set(),
    paid: new Set(),
    outcomes: new Map(),
    delivered: [],
    adjustments: 0,
  }
  for (const [at, step] of steps.entries()) {
    if (step.step === 'wait') {
      now_ms += step.ms
      await setClock(f.redis, CLOCK_KEY, now_ms)
    } else await take(f, engine, step, seen)
    const problems = [...(await f.problems()), ...(await broken(f, engine, seen, now_ms)), ...f.alarms]
    if (problems.length > 0)
      throw new Error(`after step ${at + 1}, ${JSON.stringify(step)}: ${problems.join('; ')}`)
  }
}

/** What a sequence has been told so far. */
type Seen = {
  ids: string[]
  /** How each hold ended: one word for ever. */
  ends: Map<string, string>
  /** Holds whose payment came first: they do not expire. */
  prepaid: Set<string>
  paid: Set<string>
  /** The first answer to each payment. */
  outcomes: Map<string, string>
  delivered: PaymentNotice[]
  adjustments: number
}

function end(seen: Seen, id: string, word: string): void {
  const known = seen.ends.get(id)
  if (known !== undefined) throw new Error(`hold ${id} was ${known} and is ${word} now`)
  seen.ends.set(id, word)
}

async function deliver(f: Fixture, engine: Engine, paying: PaymentNotice, seen: Seen): Promise<void> {
  const key = paying.idempotency_key
  let answer = await engine.applyPayment(paying, false)
  if (answer.status === 'unknown_order') {
    // PostgreSQL is asked first: a payment that was given up is known there.
    if ((await f.outcomes())[key]) return
    answer = await engine.applyPayment(paying, true)
  }
  const is_right = paying.status === 'success' && paying.amount === null
  if (answer.status === 'parked' && is_right) seen.prepaid.add(paying.order_id)
  const known = seen.outcomes.get(key)
  const is_known = answer.status === 'duplicate' || answer.status === 'key_reused'
  if (is_known !== (known !== undefined)) throw new Error(`payment ${key} was ${known}: ${answer.status}`)
  if (answer.status === 'duplicate' && answer.first_outcome !== known)
    throw new Error('another first outcome')
  if (is_known) return
  seen.outcomes.set(key, answer.status)
  seen.delivered.push(paying)
}

async function take(
  f: Fixture,
  engine: Engine,
  step: Exclude<Step, { step: 'wait' }>,
  seen: Seen,
): Promise<void> {
  const id = 'nth' in step ? (seen.ids[step.nth % Math.max(1, seen.ids.length)] ?? NEVER) : NEVER
  switch (step.step) {
    case 'place': {
      const own = {
        engine,
        ...(step.customer ? { customer_id: step.customer } : {}),
        ...(step.key
          ? {
              idem: idem(
                step.key,
                Buffer.from(JSON.stringify([step.lines, step.customer])).toString('base64url'),
              ),
            }
          : {}),
      }
      const answer = await f.place(step.lines, own)
      if (answer.status === 'placed') seen.ids.push(answer.hold.id)
      return
    }
    case 'create': {
      const answer = await engine.createOrder(id, step.key ? idem(step.key, id) : null)
      if (answer.status === 'created') end(seen, id, 'ordered')
      return
    }
    case 'release': {
      if ((await engine.releaseHold(id)).status === 'released') end(seen, id, 'released')
      return
    }
    case 'extend': {
      const before = await engine.readHold(id)
      const answer = await engine.extendHold(id)
      if (answer.status !== 'extended' || before.status !== 'live') return
      if (answer.hold.expires_at_ms <= before.hold.expires_at_ms)
        throw new Error('an extension shortened a hold')
      return
    }
    case 'cancel':
      await engine.cancelOrder(id)
      return
    case 'pay':
      await deliver(f, engine, notice(id, step.key, step.status, step.is_wrong ? { amount: 1 } : {}), seen)
      return
    case 'repeat': {
      const paying = seen.delivered[step.nth % Math.max(1, seen.delivered.length)]
      if (paying) await deliver(f, engine, paying, seen)
      return
    }
    case 'holds': {
      await engine.expireHolds(0)
      for (const { order } of await engine.orderPrepaid(0)) end(seen, order?.id ?? '', 'ordered')
      return
    }
    case 'orders':
      await engine.expireOrders(0)
      return
    case 'parked':
      await engine.settleParked(0)
      return
    case 'adjust':
      seen.adjustments += 1
      await engine.adjustStock(step.product, step.delta, `${seen.adjustments}`, null)
  }
}

const NEVER = 'AAAAAAAAAAAAAAAAfffffffffff0'

/** What is no longer as it was said to be for good. */
async function broken(f: Fixture, engine: Engine, seen: Seen, now_ms: number): Promise<string[]> {
  const problems: string[] = []
  const look = async (id: string) => {
    const [found, order] = await Promise.all([engine.readHold(id), engine.readOrder(id)])
    const { status } = found
    const end = seen.ends.get(id)
    const wanted = end === 'ordered' ? ['already_used'] : end ? ['released', 'expired'] : ['live', 'expired']
    if (!wanted.includes(status)) problems.push(`hold ${id} is ${status}, not ${wanted.join(' or ')}`)
    if (found.status === 'live' && found.hold.expires_at_ms <= now_ms && !seen.prepaid.has(id)) {
      problems.push(`hold ${id} lives on at its end`)
    }
    if (status === 'expired' && end === undefined) seen.ends.set(id, 'expired')
    if (order?.payment_status === 'paid') seen.paid.add(id)
    else if (seen.paid.has(id)) problems.push(`order ${id} was paid and is not`)
  }
  await Promise.all(seen.ids.map(look))
  const outcomes = await f.outcomes()
  for (const key of seen.outcomes.keys())
    if (!outcomes[key]) problems.push(`payment ${key} is in no journal entry`)
  return problems
}

t.teardown(async () => {
  const redis = new Redis(testRedisUrl())
  await redis.del(CLOCK_KEY)
  redis.disconnect()
})

const check = (t: Test, change: Change, parameters: fc.Parameters<[Step[]]>) =>
  fc.check(
    fc.asyncProperty(sequence, (steps) => play(t, steps, change)),
    parameters,
  )

t.test('the equation holds and what is final stays final, in whatever sequence things happen', async (t) => {
  const details = await check(t, [], { numRuns: RUNS })
  t.notOk(
    details.failed,
    String((details.errorInstance as Error)?.message) + fc.defaultReportMessage(details),
  )
})

for (const [what, change] of [
  ['an order leaves its hold in place', [['remove_hold(own, request.hold)\n', '']]],
  [
    'a hold lives on at its end',
    [['if hold.key == keys.holds and now >= hold.expires_at_ms then', 'if false then']],
  ],
  ['the units of buyers are not counted', [['save_buyers(keys.buyers)\n', '']]],
  ['a payment is not known again', [['if seen then', 'if false then']]],
  ['units move without being saved', [['stock.changed = true', '']]],
] as const) {
  t.test(`control: it is noticed when ${what}`, async (t) => {
    const details = await check(t, change, { numRuns: RUNS, endOnFailure: true, seed: 1 })
    t.ok(details.failed)
  })
}
