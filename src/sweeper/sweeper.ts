import { setTimeout } from 'node:timers/promises'
import type { Engine } from '../engine/engine.ts'
import type { Entry } from '../engine/records.ts'
import { createFinisher } from '../journal/recovery.ts'
import type { Writer } from '../journal/writer.ts'
import type { Observer } from '../metrics/observer.ts'
import type { Publisher } from '../recovery/terms.ts'
import { createAccount, type Tell } from './account.ts'

/** What is dead returns within this and the time of a sweep, well under the second that is promised. */
const INTERVAL_MS = 250
/** Journal entries that nobody finished are rare: looked for every so many sweeps. */
const JOURNAL_EVERY = 4

/** How late an order was cancelled: its entry's id begins with the moment, by the Redis clock. */
const lateMs = ({ entry_id, order }: Entry) => Number.parseInt(entry_id, 10) - (order?.pay_by_ms ?? 0)

export type Sweeper = { stop(): Promise<void> }

/**
 * Sweeps every open shard until it is stopped: gives back the units of dead holds, makes orders of holds that were paid
 * for, cancels orders that nobody paid, gives up on payments whose order can not come, and finishes the journal and what
 * was left of changed terms. Any number of sweepers may run at once; each unit returns once.
 */
export function startSweeper(options: {
  engine: Engine
  writer: Writer
  publisher: Publisher
  say: (message: string) => void
  meters?: Observer
  /** How long an entry of the journal is left to the process that made it. */
  min_age_ms?: number
  /** Hears of what was ended, in sum. */
  log?: { info: Tell }
}): Sweeper {
  const { engine, writer, publisher, say, meters, min_age_ms, log } = options
  const account = createAccount(log?.info.bind(log), meters)
  const finishOld = createFinisher(engine, writer, min_age_ms)
  const stopped = new AbortController()

  async function sweepHolds(shard: number): Promise<void> {
    for (;;) {
      const { count, late_ms, prepaid_ids, are_more } = await engine.expireHolds(shard)
      account.note('hold', count, late_ms)
      for (const id of prepaid_ids) {
        const result = await engine.createOrder(id, null)
        if (result.status === 'created') await writer.commit(result.entry)
      }
      if (!are_more || stopped.signal.aborted) return
    }
  }

  async function sweep(shard: number, round: number): Promise<void> {
    await sweepHolds(shard)
    const expired = await engine.expireOrders(shard)
    account.note('order', expired.length, Math.max(0, ...expired.map(lateMs)))
    const entries = [...expired, ...(await engine.settleParked(shard))]
    await Promise.all(entries.map((entry) => writer.commit(entry)))
    if (round % JOURNAL_EVERY === 0) await finishOld(shard)
  }

  const last_failures = new Map<string, string>()
  async function attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
      last_failures.delete(what)
    } catch (error) {
      const failure = (error as Error).message
      if (failure !== last_failures.get(what)) say(`sweeper: ${what}: ${failure}`)
      last_failures.set(what, failure)
    }
  }

  /** Each goes round by itself: the server of one shard may take long to answer and holds up no other. */
  async function goRound(what: string, work: (round: number) => Promise<void>): Promise<void> {
    for (let round = 0; !stopped.signal.aborted; round += 1) {
      await attempt(what, () => work(round))
      await setTimeout(INTERVAL_MS, undefined, { signal: stopped.signal }).catch(() => {})
    }
  }

  const shards = Array.from({ length: engine.shards }, (_, shard) =>
    goRound(`shard ${shard}`, async (round) => {
      if (engine.fence.isOpen(shard)) await sweep(shard, round)
    }),
  )
  const terms = goRound('terms', async (round) => {
    account.report(false)
    if (round % JOURNAL_EVERY === 0) await publisher.publishLeft()
  })
  const running = Promise.all([...shards, terms])
  return {
    async stop() {
      stopped.abort()
      await running
      account.report(true)
    },
  }
}
