import { UnavailableError } from '../errors.ts'
import { gather } from '../gather.ts'
import type { Observer } from '../metrics/observer.ts'
import { createBought, type FindBought } from './bought.ts'
import type { PlaceReply } from './commands.ts'
import type { Fence } from './fence.ts'
import { idEnd, randomPart } from './ids.ts'
import type { Keys } from './keys.ts'
import type { Places } from './places.ts'
import {
  type Entry,
  type Hold,
  makeEntry,
  type Order,
  parseHold,
  parseOrder,
  parsePayments,
} from './records.ts'
import { eachForItself, type Run } from './run.ts'

/** A place-holds call of this size takes Redis about a millisecond. */
const MAX_BATCH = 128
const MAX_IN_FLIGHT = 1
/** As much as may wait: in a flood all that one turn of the event loop brought goes out. */
const MAX_FULL_IN_FLIGHT = 16
/** Some 300 ms of work: what comes on top is refused at once rather than answered late. */
const MAX_WAITING = 2_000
/** With the 0.9 s that a call may take, an answer comes within the 3 s that HTTP promises, whatever Redis does. */
const MAX_WAIT_MS = 1_000
/** Past this, PostgreSQL is so far behind that new holds would only lead to orders that can not be made. */
const MAX_JOURNAL_ENTRIES = 20_000
const MAX_JOURNAL_AGE_MS = 120_000
/** Each try takes 125 dead holds back in about a millisecond, so that some 100,000 of them may stand before a buyer. */
const MAX_BACKLOG_MS = 800
export const IDEM_TTL_MS = 24 * 3600 * 1000

/** `fingerprint` tells one body from another, by letters, digits, - and _ alone. */
export type Idem = { scope: string; key: string; fingerprint: string }
export type HoldRequest = {
  items: Array<{ product_id: number; qty: number }>
  customer_id: string | null
  idem: Idem | null
}

export type PlaceHold =
  | { status: 'placed' | 'replayed'; hold: Hold }
  | { status: 'key_reused' | 'not_in_one_shard' }
  | {
      status:
        | 'product_not_found'
        | 'sale_paused'
        | 'sale_not_started'
        | 'sale_ended'
        | 'currency_mismatch'
        | 'customer_required'
      product_id: number
    }
  | { status: 'limit_exceeded'; product_id: number; limit: number }
  | {
      status: 'insufficient_stock'
      product_id: number
      reason: 'sold_out' | 'all_held' | 'too_many'
      available: number
      retry_after_ms: number
    }

/** What is left of a hold that is not live. */
export type HoldGone = 'released' | 'expired' | 'not_found'

/** `entry_id` is that of the first answer's journal entry in this shard while PostgreSQL may not have it, else ''. */
export type ReleaseHold =
  | { status: 'released'; entry: Entry | null }
  | { status: 'already_released'; shard: number; entry_id: string }
  | { status: 'already_used' | Exclude<HoldGone, 'released'> }

export type ExtendHold =
  | { status: 'extended'; hold: Hold }
  | { status: 'already_used' | 'extension_limit' | HoldGone }

export type ReadHold =
  | { status: 'live'; hold: Hold }
  | { status: 'already_used'; order: Order }
  | { status: 'released'; customer_id: string | null }
  | { status: 'not_found' | 'expired' }

/** Whether a shard has nothing under the id of a hold: it may be in another one. */
export const isUnknown = ({ status }: { status: string }): boolean =>
  status === 'not_found' || status === 'expired'

function answerPlace(reply: PlaceReply): PlaceHold {
  switch (reply[0]) {
    case 'placed':
    case 'replayed':
      return { status: reply[0], hold: parseHold(reply[1], reply[2]) }
    case 'limit_exceeded':
      return { status: reply[0], product_id: Number(reply[1]), limit: reply[2] }
    case 'insufficient_stock':
      return {
        status: reply[0],
        product_id: Number(reply[1]),
        reason: reply[2],
        available: reply[3],
        retry_after_ms: reply[4],
      }
    case 'not_found':
      return { status: 'product_not_found', product_id: Number(reply[1]) }
    case 'key_reused':
      return { status: 'key_reused' }
    case 'backlog':
    case 'unknown_buyer':
      throw new Error(`${reply[0]} is asked again, never answered`)
    default:
      return { status: reply[0], product_id: Number(reply[1]) }
  }
}

/** Two lines of one product become one, before anything is checked. */
function mergeItems(items: HoldRequest['items']): HoldRequest['items'] {
  if (items.length === 1) return items
  const qty_by_product = new Map<number, number>()
  for (const { product_id, qty } of items) {
    qty_by_product.set(product_id, (qty_by_product.get(product_id) ?? 0) + qty)
  }
  return [...qty_by_product].map(([product_id, qty]) => ({ product_id, qty }))
}

/** Holds: placed in batches, a batch being one indivisible step of one shard. */
export function createHolds(options: {
  run: Run
  keys: Keys
  fence: Fence
  shards: number
  places: Places
  hold_ttl_ms: number
  installation: string
  findBought: FindBought | undefined
  observer?: Observer | undefined
}) {
  const { run, keys, fence, shards, places, hold_ttl_ms, installation, findBought, observer } = options
  const loadBought = createBought({ run, fence, shards, findBought })

  async function placeBatch(shard: number, requests: HoldRequest[]): Promise<PlaceReply[]> {
    const idem_keys: string[] = []
    const rest: string[] = []
    for (const { items, customer_id, idem } of requests) {
      if (idem) idem_keys.push(keys.idem(shard, idem.scope, idem.key))
      const lines = items.map(({ product_id, qty }) => `${product_id}:${qty}`).join(',')
      const key = idem ? `${idem_keys.length}|${idem.fingerprint}` : '0|'
      rest.push(`${randomPart()}|${key}|${lines}|${customer_id ?? ''}`)
    }
    const args = {
      shard: idEnd(shard, installation),
      default_ttl_ms: hold_ttl_ms,
      idem_ttl_ms: IDEM_TTL_MS,
      max_entries: MAX_JOURNAL_ENTRIES,
      max_age_ms: MAX_JOURNAL_AGE_MS,
    }
    const [status, ...replies] = await run('place-holds', shard, { args, keys: idem_keys, rest })
    if (status === 'journal_full') throw new UnavailableError('unavailable', 'PostgreSQL is too far behind')
    return replies as PlaceReply[]
  }

  /** The one shard in which all of the products live, or undefined. */
  function shardOfItems(items: HoldRequest['items']): number | undefined {
    let found: number | undefined
    for (const { product_id } of items) {
      const shard = places.shardOfProduct(product_id)
      if (found !== undefined && shard !== found) return undefined
      found = shard
    }
    return found
  }

  const gathers = Array.from({ length: shards }, (_, shard) =>
    gather<HoldRequest, PlaceReply>({
      on_batch: observer && ((requests) => observer.gathered('holds', requests)),
      run: eachForItself((requests) => placeBatch(shard, requests)),
      max_batch: MAX_BATCH,
      max_in_flight: MAX_IN_FLIGHT,
      max_full_in_flight: MAX_FULL_IN_FLIGHT,
      max_waiting: MAX_WAITING,
      max_wait_ms: MAX_WAIT_MS,
    }),
  )

  async function releaseIn(shard: number, id: string): Promise<ReleaseHold> {
    const epoch = fence.epoch(shard)
    const reply = await run('release-hold', shard, { args: { id }, id })
    switch (reply[0]) {
      case 'released': {
        const entry_id = reply[1]
        const payments = parsePayments(reply[2])
        const entry = entry_id === '' ? null : makeEntry({ shard, entry_id, epoch }, { payments })
        return { status: 'released', entry }
      }
      case 'already_released':
        return { status: 'already_released', shard, entry_id: reply[1] }
      default:
        return { status: reply[0] }
    }
  }

  async function extendIn(shard: number, id: string): Promise<ExtendHold> {
    const reply = await run('extend-hold', shard, { args: { id }, id })
    if (reply[0] === 'extended') return { status: 'extended', hold: parseHold(reply[1], reply[2]) }
    return { status: reply[0] }
  }

  async function readIn(shard: number, id: string): Promise<ReadHold> {
    const reply = await run('read-hold', shard, { args: { id }, id })
    if (reply[0] === 'live') return { status: 'live', hold: parseHold(reply[1], reply[2]) }
    if (reply[0] === 'already_used') return { status: 'already_used', order: parseOrder(reply[1]) }
    if (reply[0] === 'released') return { status: 'released', customer_id: reply[1] || null }
    return { status: reply[0] }
  }

  return {
    /** Places a hold: all of its items or none. Rejects with UnavailableError when nothing can be promised. */
    async placeHold(request: HoldRequest): Promise<PlaceHold> {
      const asked = { ...request, items: mergeItems(request.items) }
      const until_ms = performance.now() + MAX_BACKLOG_MS
      for (;;) {
        const shard = shardOfItems(asked.items)
        const gathered = gathers[shard ?? -1]
        if (shard === undefined || !gathered) return { status: 'not_in_one_shard' }
        const reply = await gathered.add(asked)
        // A product that moved while the request waited is not where it was asked for.
        if (reply[0] === 'not_found' && shardOfItems(asked.items) !== shard) continue
        if (reply[0] === 'unknown_buyer') {
          await loadBought(shard, asked)
          continue
        }
        if (reply[0] !== 'backlog') return answerPlace(reply)
        if (performance.now() >= until_ms) {
          throw new UnavailableError('unavailable', 'dead holds are still being taken back')
        }
      }
    },

    /** Ends a hold; its units are free at once. `entry` carries parked payments that are due for refund now. */
    releaseHold: (id: string): Promise<ReleaseHold> =>
      places.find(id, (shard) => releaseIn(shard, id), isUnknown),

    /** Lets a live hold end one full TTL from now, at most three TTLs after it was placed. */
    extendHold: (id: string): Promise<ExtendHold> =>
      places.find(id, (shard) => extendIn(shard, id), isUnknown),

    readHold: (id: string): Promise<ReadHold> => places.find(id, (shard) => readIn(shard, id), isUnknown),
  }
}
