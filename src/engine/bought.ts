import { setTimeout } from 'node:timers/promises'
import { UnavailableError } from '../errors.ts'
import { gather } from '../gather.ts'
import type { Fence } from './fence.ts'
import type { Run } from './run.ts'

/** One query of PostgreSQL, and one step of less than a millisecond. */
const MAX_BATCH = 256
const MAX_IN_FLIGHT = 1
/** What comes on top is refused at once rather than answered late. */
const MAX_WAITING = 2_000
/** With the calls before and behind it, an answer comes within the 3 s that HTTP promises. */
const MAX_WAIT_MS = 500

export type Buyer = { product_id: number; customer_id: string }

/** What a buyer waits for this, connecting to PostgreSQL and all: he has the rest of the 3 s for his hold. */
const LIMIT_MS = 1_500

/** Tells how many units each of these customers had in orders that were paid before a shard had this epoch. */
export type FindBought = (buyers: Buyer[], epoch: number) => Promise<number[]>

/**
 * What customers bought before the last rebuild of a shard, of products with a limit. There may be millions of them, so a rebuild
 * tells of none: each is asked for when he comes again. What is paid after the rebuild the shard has counted itself.
 */
export function createBought(options: {
  run: Run
  fence: Fence
  shards: number
  findBought: FindBought | undefined
}) {
  const { run, fence, shards, findBought } = options

  async function load(shard: number, buyers: Buyer[]): Promise<undefined[]> {
    if (!findBought) throw new UnavailableError('unavailable', 'nobody knows what buyers have bought')
    const epoch = fence.epoch(shard)
    const units = await findBought(buyers, epoch)
    const rest = buyers.flatMap(({ product_id, customer_id }, at) => [
      `${product_id}:${customer_id}`,
      units[at] ?? 0,
    ])
    await run('load-bought', shard, { args: {}, rest, epoch })
    return buyers.map(() => undefined)
  }

  const gathers = Array.from({ length: shards }, (_, shard) =>
    gather<Buyer, undefined>({
      run: (buyers) => load(shard, buyers),
      max_batch: MAX_BATCH,
      max_in_flight: MAX_IN_FLIGHT,
      max_waiting: MAX_WAITING,
      max_wait_ms: MAX_WAIT_MS,
    }),
  )

  async function refuseLate(signal: AbortSignal): Promise<never> {
    await setTimeout(LIMIT_MS, undefined, { signal })
    throw new UnavailableError('unavailable', 'PostgreSQL does not say in time what a buyer has bought')
  }

  /** Tells a shard what the customer of a request bought of its products. Rejects with UnavailableError where PostgreSQL does not say. */
  return async (
    shard: number,
    { items, customer_id }: { items: Array<{ product_id: number }>; customer_id: string | null },
  ) => {
    const buyer = customer_id ?? ''
    const told = items.map(({ product_id }) => gathers[shard]?.add({ product_id, customer_id: buyer }))
    const waiting = new AbortController()
    const late = refuseLate(waiting.signal)
    late.catch(() => {})
    try {
      await Promise.race([Promise.all(told), late])
    } finally {
      waiting.abort()
    }
  }
}
