import { gather } from '../gather.ts'
import type { Observer } from '../metrics/observer.ts'
import type { Fence } from './fence.ts'
import { IDEM_TTL_MS } from './holds.ts'
import type { Keys } from './keys.ts'
import { type Entry, makeEntry, parseAdjustment } from './records.ts'
import type { Run } from './run.ts'

/** Each product costs Redis some 5 µs. */
const MAX_BATCH = 256
const MAX_IN_FLIGHT = 1
/** Products loaded at once, each in a step of its own. */
const LOADS_AT_ONCE = 500
/** As much as may wait: in a flood all that one turn of the event loop brought goes out. */
const MAX_FULL_IN_FLIGHT = 16
/** What comes on top is refused at once rather than answered late. */
const MAX_WAITING = 5_000
/** With the 0.9 s that a call may take, an answer comes within the 3 s that HTTP promises, whatever Redis does. */
const MAX_WAIT_MS = 1_000
const MAX_BACKLOG_TRIES = 1_600
/** Units of a product, and what they are worth: a cart of ten such products still has an amount below 2^53. PostgreSQL checks the same. */
export const MAX_PRODUCT_AMOUNT = 900_719_925_474_099

/** The terms of sale of a product. Times are ms since 1970, `hold_ttl_ms` null means the installation's default. */
export type Terms = {
  name: string
  unit_amount: number
  currency: string
  hold_ttl_ms: number | null
  starts_at_ms: number | null
  ends_at_ms: number | null
  paused: boolean
  max_per_hold: number | null
  max_per_customer: number | null
}

/** Where a product is new to its shard. */
type Counts = { total: number | null; held?: number; pending?: number; sold?: number; version?: number }
export type Stock = { total: number; available: number; held: number; pending: number; sold: number }
export type ProductState = 'available' | 'all_held' | 'sold_out' | 'not_started' | 'ended' | 'paused'
export type Product = { id: number; terms: Terms; stock: Stock; state: ProductState }
/** `next_chance_at_ms` is when units may come back to a product that is all held, rounded up to a second; else null. */
export type FollowedProduct = Product & { next_chance_at_ms: number | null }

export type AdjustStock =
  | { status: 'adjusted'; entry: Entry }
  | { status: 'replayed'; entry_id: string }
  | { status: 'stock_in_use'; available: number }
  | { status: 'key_reused' | 'not_found' | 'too_much' }

/** What became of terms that were brought to Redis. */
export type LoadProduct = 'unknown' | 'outdated' | 'recount' | 'updated' | 'loaded'

const numberOrNull = (text: string | null | undefined) => (text ? Number(text) : null)

/** The first that applies of paused, not_started, ended; then what the stock says. */
export function stateOf(terms: Terms, stock: Stock, now_ms: number): ProductState {
  if (terms.paused) return 'paused'
  if (terms.starts_at_ms !== null && now_ms < terms.starts_at_ms) return 'not_started'
  if (terms.ends_at_ms !== null && now_ms >= terms.ends_at_ms) return 'ended'
  if (stock.available > 0) return 'available'
  return stock.held + stock.pending > 0 ? 'all_held' : 'sold_out'
}

/** Reads the fields in the order in which lua/read-products.lua returns them. */
export function parseProduct(id: number, fields: Array<string | null>, now_ms: number): Product | undefined {
  const [name, unit_amount, currency, hold_ttl_ms, starts_at_ms, ends_at_ms, paused, ...numbers] = fields
  const [max_per_hold, max_per_customer, available, held, pending, sold, total] = numbers
  if (typeof name !== 'string' || typeof currency !== 'string') return undefined
  const terms = {
    name,
    unit_amount: Number(unit_amount),
    currency,
    hold_ttl_ms: numberOrNull(hold_ttl_ms),
    starts_at_ms: numberOrNull(starts_at_ms),
    ends_at_ms: numberOrNull(ends_at_ms),
    paused: paused === '1',
    max_per_hold: numberOrNull(max_per_hold),
    max_per_customer: numberOrNull(max_per_customer),
  }
  const stock = {
    total: Number(total),
    available: Number(available),
    held: Number(held),
    pending: Number(pending),
    sold: Number(sold),
  }
  return { id, terms, stock, state: stateOf(terms, stock, now_ms) }
}

/** Products: their terms and counters, read in batches. */
export function createProducts(options: {
  run: Run
  keys: Keys
  fence: Fence
  shards: number
  shardOfProduct: (product_id: number) => number
  hold_ttl_ms: number
  observer?: Observer | undefined
}) {
  const { run, keys, fence, shards, shardOfProduct, hold_ttl_ms, observer } = options

  async function readBatch(shard: number, product_ids: number[]): Promise<Array<Product | undefined>> {
    const unique = [...new Set(product_ids)]
    const [, now_ms, ...found] = await run('read-products', shard, { args: {}, rest: unique })
    const products = new Map(unique.map((id, at) => [id, parseProduct(id, found[at] ?? [], now_ms)]))
    return product_ids.map((id) => products.get(id))
  }

  const gathers = Array.from({ length: shards }, (_, shard) =>
    gather<number, Product | undefined>({
      on_batch: observer && ((requests) => observer.gathered('products', requests)),
      run: (product_ids) => readBatch(shard, product_ids),
      max_batch: MAX_BATCH,
      max_in_flight: MAX_IN_FLIGHT,
      max_full_in_flight: MAX_FULL_IN_FLIGHT,
      max_waiting: MAX_WAITING,
      max_wait_ms: MAX_WAIT_MS,
    }),
  )

  /**
   * Sets a product's terms, unless the shard has those of a higher version; its counters too where the shard does not know
   * it
   * yet, unless `total` is null. `recount` changes nothing: the product is limited by customer now and its units were not counted by customer
   * so far, which only a rebuild of the shard can make up for.
   */
  async function loadProduct(
    shard: number,
    product_id: number,
    terms: Terms,
    counts: Counts,
  ): Promise<LoadProduct> {
    const rest = Object.entries(terms).flatMap(([term, value]) => [
      term,
      typeof value === 'boolean' ? Number(value) : (value ?? ''),
    ])
    const args = { product: product_id, held: 0, pending: 0, sold: 0, version: 0, ...counts }
    const [status] = await run('load-product', shard, {
      args: { ...args, total: counts.total ?? '' },
      rest,
    })
    return status
  }

  return {
    /** A product with its counters at this moment, or undefined where Redis does not know it. */
    async readProduct(product_id: number): Promise<Product | undefined> {
      const shard = shardOfProduct(product_id)
      const product = await gathers[shard]?.add(product_id)
      // One that moved while the request waited is not where it was asked for.
      return product ?? (shardOfProduct(product_id) === shard ? undefined : this.readProduct(product_id))
    },

    /** Products of one shard, in one step, for those who follow them. Those that the shard does not know are left out. */
    async readStock(shard: number, product_ids: number[]): Promise<FollowedProduct[]> {
      const call = { args: { default_ttl_ms: hold_ttl_ms }, rest: product_ids }
      const [, now_ms, ...found] = await run('read-stock', shard, call)
      return product_ids.flatMap((id, at) => {
        const [next_chance_ms, ...fields] = found[at] ?? []
        const product = parseProduct(id, fields, now_ms)
        if (!product) return []
        const is_waited_for = product.state === 'all_held' && next_chance_ms
        // What ends at no known moment would otherwise change with every look.
        const next_chance_at_ms = is_waited_for ? Math.ceil(Number(next_chance_ms) / 1000) * 1000 : null
        return { ...product, next_chance_at_ms }
      })
    },

    loadProduct,

    /** The same for many of them, which go out together. */
    async loadProducts(
      shard: number,
      products: Array<{ id: number; terms: Terms; counts: Counts }>,
    ): Promise<LoadProduct[]> {
      const loaded: LoadProduct[] = []
      for (let at = 0; at < products.length; at += LOADS_AT_ONCE) {
        const page = products.slice(at, at + LOADS_AT_ONCE)
        loaded.push(
          ...(await Promise.all(page.map(({ id, terms, counts }) => loadProduct(shard, id, terms, counts)))),
        )
      }
      return loaded
    },

    /** Adds `delta` units, or takes free ones out of the sale; once for each idempotency key. */
    async adjustStock(
      product_id: number,
      delta: number,
      key: string,
      reason: string | null,
    ): Promise<AdjustStock> {
      const shard = shardOfProduct(product_id)
      const call = {
        args: {
          product: product_id,
          delta,
          key,
          reason: reason ?? '',
          idem_ttl_ms: IDEM_TTL_MS,
          max_amount: MAX_PRODUCT_AMOUNT,
        },
        keys: [keys.idem(shard, `stock:${product_id}`, key)],
      }
      for (let tries = 0; tries < MAX_BACKLOG_TRIES; tries += 1) {
        const epoch = fence.epoch(shard)
        const reply = await run('adjust-stock', shard, call)
        switch (reply[0]) {
          case 'backlog':
            continue
          case 'adjusted': {
            const adjustment = parseAdjustment(reply[2])
            const entry = makeEntry({ shard, entry_id: reply[1], epoch }, { adjustment })
            return { status: 'adjusted', entry }
          }
          case 'replayed':
            return { status: 'replayed', entry_id: reply[1] }
          case 'stock_in_use':
            return { status: 'stock_in_use', available: reply[1] }
          default:
            return { status: reply[0] }
        }
      }
      throw new Error('dead holds do not come to an end')
    },
  }
}
