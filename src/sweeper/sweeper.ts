import { setMaxListeners } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import type { Engine } from '../engine/engine.ts'
import type { Entry } from '../engine/records.ts'
import { MAX_DUE_ORDERS, MAX_PARKED, MAX_PREPAID } from '../engine/sweeping.ts'
import { createFinisher } from '../journal/recovery.ts'
import type { Writer } from '../journal/writer.ts'
import type { Observer } from '../metrics/observer.ts'
import type { Lookup } from '../recovery/load.ts'
import type { Publisher } from '../recovery/terms.ts'
import { createAccount, type Tell } from './account.ts'
import { createOutbox } from './outbox.ts'

/** What is due ends within this and the time of a step, well under the second that is promised. */
const INTERVAL_MS = 250
/** Where some things end more do: many small steps, evenly spread, hold up a buyer less than a heap of them four times a second. */
const BUSY_MS = 12
/**
 * Where much ends at once buyers come first: between two steps there is a pause, the shorter the later what was ended is, and none
 * when it is so late. With 2,000 a second of each it is in balance at a third to two thirds of that, well before what is promised.
 */
const PACES = {
  order: { pause_ms: 9, late_ms: 700 },
  paid_hold: { pause_ms: 6, late_ms: 1_500 },
  parked: { pause_ms: 0, late_ms: 1 },
}
type Pace = (typeof PACES)[keyof typeof PACES]
/** Journal entries that nobody finished, and terms that nobody brought to Redis, are rare. */
const SELDOM_MS = 1_000

/** How much later than its end an order was cancelled, or made of a paid hold: its entry's id begins with the moment, by the Redis clock. */
const lateMs = ({ entry_id, order }: Entry) =>
  order
    ? Number.parseInt(entry_id, 10) -
      (order.order_status === 'cancelled' ? order.pay_by_ms : order.hold_expires_at_ms)
    : 0

export type Sweeper = { stop(): Promise<void> }

/** Something that a sweeper does again and again. `step` says how much there was to do: as much as it may, some, or nothing. */
type Duty = { what: string; every_ms: number; step: () => Promise<Found> }
type Found = 'full' | 'some' | 'none'

/**
 * Sweeps every open shard until it is stopped: gives back the units of dead holds, makes orders of holds that were paid
 * for, cancels orders that nobody paid, gives up on payments whose order can not come, and finishes the journal and what
 * was left of changed terms. Each of these goes on by itself in each shard, whatever keeps the others. Any number of sweepers may
 * run at once; each unit returns once.
 */
export function startSweeper(options: {
  engine: Engine
  writer: Writer
  lookup: Lookup
  publisher: Publisher
  say: (message: string) => void
  meters?: Observer
  /** How long an entry of the journal is left to the process that made it. */
  min_age_ms?: number
  /** Hears of what was ended, in sum. */
  log?: { info: Tell }
}): Sweeper {
  const { engine, writer, lookup, publisher, say, meters, min_age_ms, log } = options
  const account = createAccount(log?.info.bind(log), meters)
  const finishOld = createFinisher(engine, writer, min_age_ms)
  const stopped = new AbortController()
  const { signal } = stopped
  // Each duty of each shard hears of the stop.
  setMaxListeners(0, signal)

  const last_failures = new Map<string, string>()
  function tell(what: string, { message }: Error): void {
    if (message !== last_failures.get(what)) say(`sweeper: ${what}: ${message}`)
    last_failures.set(what, message)
  }
  const outbox = createOutbox({
    writer,
    stopped: signal,
    note: (reason) => (reason ? tell('commits', reason) : last_failures.delete('commits')),
  })

  /** Resolves after some time, or at the stop. */
  async function rest(ms: number): Promise<void> {
    if (ms >= 1) await setTimeout(ms, undefined, { signal }).catch(() => {})
  }

  async function expireHolds(shard: number): Promise<Found> {
    const { count, late_ms, are_more } = await engine.expireHolds(shard)
    account.note('hold', count, late_ms)
    return are_more ? 'full' : count > 0 ? 'some' : 'none'
  }

  /** Ends up to a number of things, and leaves their commits to the outbox. */
  async function end(
    step: (shard: number) => Promise<Entry[]>,
    shard: number,
    limit: number,
    { pause_ms, late_ms }: Pace,
  ): Promise<Found> {
    await outbox.room()
    const entries = await step(shard)
    outbox.add(entries)
    if (entries.length < limit) return entries.length > 0 ? 'some' : 'none'
    await rest(pause_ms * (1 - Math.max(0, ...entries.map(lateMs)) / late_ms))
    return 'full'
  }

  async function expireOrders(shard: number): Promise<Entry[]> {
    const expired = await engine.expireOrders(shard)
    account.note('order', expired.length, Math.max(0, ...expired.map(lateMs)))
    return expired
  }

  const settleParked = (shard: number) => engine.settleParked(shard, lookup.loadOrder)

  const dutiesOf = (shard: number): Duty[] =>
    (
      [
        ['dead holds', INTERVAL_MS, () => expireHolds(shard)],
        ['paid holds', INTERVAL_MS, () => end(engine.orderPrepaid, shard, MAX_PREPAID, PACES.paid_hold)],
        ['unpaid orders', INTERVAL_MS, () => end(expireOrders, shard, MAX_DUE_ORDERS, PACES.order)],
        ['parked payments', INTERVAL_MS, () => end(settleParked, shard, MAX_PARKED, PACES.parked)],
        ['the journal', SELDOM_MS, () => finishOld(shard).then(() => 'none' as const)],
      ] as const
    ).map(([what, every_ms, step]) => ({
      what: `${what} of shard ${shard}`,
      every_ms,
      step: async () => (engine.fence.isOpen(shard) ? step() : 'none'),
    }))

  const terms: Duty = {
    what: 'terms',
    every_ms: SELDOM_MS,
    async step() {
      account.report(false)
      await publisher.publishLeft()
      return 'none'
    },
  }

  async function goRound({ what, every_ms, step }: Duty): Promise<void> {
    while (!signal.aborted) {
      let found: Found = 'none'
      try {
        found = await step()
        last_failures.delete(what)
      } catch (error) {
        tell(what, error as Error)
      }
      if (found === 'full') continue
      await rest(found === 'some' ? BUSY_MS : every_ms)
    }
  }

  const shards = Array.from({ length: engine.shards }, (_, shard) => dutiesOf(shard))
  const running = Promise.all([terms, ...shards.flat()].map(goRound))
  return {
    async stop() {
      stopped.abort()
      await running
      await outbox.drained()
      account.report(true)
    },
  }
}
