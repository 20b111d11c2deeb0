import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import type { Engine } from '../../src/engine/engine.ts'
import type { Stock } from '../../src/engine/products.ts'
import { UnavailableError } from '../../src/errors.ts'
import { quantile } from '../figures.ts'
import { type Context, holdRequest } from './context.ts'

/** So long does it last, and so much ends together in it. */
const WAVE_MS = 5_000
const SLICE_MS = 50
const IDLE_MS = 5_000
const TAIL_MS = 3_000
/** Making an order and paying for a hold takes Redis, PostgreSQL and the processes about this. Where it is not enough, it is tried again with twice that. */
const PLACE_MS_PER_END = 0.6
const PLACE_TRIES = 3
/** Paid holds have 3 s; what takes longer is measured up to here. */
const DONE_LIMIT_MS = 12_000
const POLL_MS = 10
/** A steady trickle, far below the capacity, so that its latency shows the sweeper's doing and nothing else. */
const TRICKLE_PER_SECOND = 1_000
export const WAVE_CONNECTIONS = 64

const PRICE = { amount: 9900, currency: 'USD', payment_method: null, transaction_id: null }

async function payFor(engine: Engine, order_id: string): Promise<void> {
  const notice = { idempotency_key: randomUUID(), order_id, status: 'success' as const, ...PRICE }
  const first = await engine.applyPayment(notice, false)
  const { status } = first.status === 'unknown_order' ? await engine.applyPayment(notice, true) : first
  if (status !== 'parked') throw new Error(`a payment before its order is ${status}`)
}

async function makeOrder(engine: Engine, hold_id: string): Promise<void> {
  const { status } = await engine.createOrder(hold_id, null)
  if (status !== 'created') throw new Error(`an order of a live hold is ${status}`)
}

/** Unpaid orders, and holds that were paid for, that end slice by slice, as many of each. Answers when the first of them do. */
async function placeAll({ ground, options }: Context): Promise<number> {
  const { unpaid, prepaid } = ground.products
  const slices = WAVE_MS / SLICE_MS
  const per_slice = (options.wave_per_second * SLICE_MS) / 1_000
  for (let tries = 0; tries < PLACE_TRIES; tries += 1) {
    await ground.reset()
    const full_at_ms = Date.now() + 2 * slices * per_slice * PLACE_MS_PER_END * 2 ** tries + 2_000
    const start_ms = full_at_ms + IDLE_MS
    for (let slice = 0; slice < slices && Date.now() < full_at_ms; slice += 1) {
      const ttl_ms = Math.ceil(start_ms + slice * SLICE_MS - Date.now())
      const engine = await ground.openEngine(ttl_ms, ttl_ms)
      const [to_order, to_pay] = await Promise.all([
        ground.placeHolds(engine, unpaid, per_slice),
        ground.placeHolds(engine, prepaid, per_slice),
      ])
      await Promise.all([
        ...to_order.map((id) => makeOrder(engine, id)),
        ...to_pay.map((id) => payFor(engine, id)),
      ])
    }
    // All of them are in PostgreSQL before the first ends.
    if (await ground.isWritten(full_at_ms - Date.now())) return start_ms
  }
  throw new Error('what is to end can not be made in reasonable time: use a machine that is less busy')
}

/** How much later than it should the latest ended, of as many as end from `start_ms` on; and when the last of all did. */
async function watchEnds(
  { ground, options }: Context,
  start_ms: number,
): Promise<{ order_late_ms: number; paid_hold_late_ms: number; done_ms: number }> {
  const engine = await ground.openEngine()
  const per_slice = (options.wave_per_second * SLICE_MS) / 1_000
  const all = (WAVE_MS / SLICE_MS) * per_slice
  const end_ms = start_ms + WAVE_MS - SLICE_MS
  const late_ms = { pending: 0, held: 0 }
  for (;;) {
    const asked_ms = Date.now()
    const read = (id: number) =>
      engine.readProduct(id).catch((error: Error) => {
        if (!(error instanceof UnavailableError)) throw error
      })
    const [unpaid, prepaid] = await Promise.all([read(ground.products.unpaid), read(ground.products.prepaid)])
    const note = (what: keyof typeof late_ms, stock: Stock | undefined) => {
      const left = stock?.[what] ?? all
      if (left === 0) return true
      const due_ms = start_ms + Math.floor((all - left) / per_slice) * SLICE_MS
      late_ms[what] = Math.max(late_ms[what], asked_ms - due_ms)
      return false
    }
    const is_done = [note('pending', unpaid?.stock), note('held', prepaid?.stock)].every(Boolean)
    if (is_done || asked_ms > end_ms + DONE_LIMIT_MS) {
      return { order_late_ms: late_ms.pending, paid_hold_late_ms: late_ms.held, done_ms: asked_ms }
    }
    await wait(POLL_MS)
  }
}

/** Orders that nobody paid, and holds that were paid for, end by the thousand, while other holds are placed. */
export async function wave(context: Context, round: number): Promise<void> {
  const { stage, ground, options, samples, say } = context
  const start_ms = await placeAll(context)
  await wait(start_ms - IDLE_MS - Date.now(), undefined, { signal: stage.stopping })
  const [result, ends] = await Promise.all([
    stage.generator.run({
      kind: 'open',
      url: stage.urlOf('service'),
      connections: WAVE_CONNECTIONS,
      seconds: (IDLE_MS + WAVE_MS + TAIL_MS) / 1_000,
      per_second: TRICKLE_PER_SECOND,
      request: holdRequest(ground.products.plenty),
      ignore_seconds: 1,
      when_busy: 'wait',
      keeps_answers: true,
    }),
    wait(start_ms - Date.now(), undefined, { signal: stage.stopping }).then(() =>
      watchEnds(context, start_ms),
    ),
  ])
  const { order_late_ms, paid_hold_late_ms, done_ms } = ends
  const answers = result.answers ?? []
  const p99 = (from_ms: number, to_ms: number) => {
    const own = answers.filter(({ due_ms }) => due_ms >= from_ms && due_ms < to_ms)
    return quantile(
      own.map(({ latency_ms }) => latency_ms),
      0.99,
    )
  }
  const [before_ms, during_ms] = [p99(0, start_ms), p99(start_ms, done_ms)]
  const unexpected = answers.filter(({ status }) => status !== 201).length
  const at = { connections: WAVE_CONNECTIONS, round }
  samples.push({ arm: 'wave-before', ...at, figures: { p99_ms: before_ms } })
  samples.push({
    arm: 'wave',
    ...at,
    figures: { order_late_ms, paid_hold_late_ms, p99_ms: during_ms, unexpected },
  })
  say(
    `  wave: of ${options.wave_per_second} a second each, the latest order ${order_late_ms} ms late, the latest paid hold ${paid_hold_late_ms} ms, p99 of others ${during_ms.toFixed(2)} ms (before ${before_ms.toFixed(2)} ms)`,
  )
}
