import { type Hold, parseHold } from './records.ts'
import type { Run } from './run.ts'

/** Holds of other products that one step passes over: it stays under 2 ms. */
const MAX_LOOKED = 500

/** A place in the order of holds: by their end, then by id. */
export type HoldPlace = readonly [expires_at_ms: number, id: string]
type Part = { holds: Hold[]; last: HoldPlace | null }

const isAfter = ([ms, id]: HoldPlace, [other_ms, other_id]: HoldPlace) =>
  ms === other_ms ? id > other_id : ms > other_ms
const placeOf = ({ expires_at_ms, id }: Hold): HoldPlace => [expires_at_ms, id]

/** The live holds, read a page at a time: one step of each shard that is asked. */
export function createHoldList(options: {
  run: Run
  shards: number
  shardOfProduct: (product_id: number) => number
}) {
  const { run, shards, shardOfProduct } = options

  async function readPart(
    shard: number,
    product_id: number | null,
    after: HoldPlace | null,
    limit: number,
  ): Promise<Part> {
    const [after_ms, after_id] = after ?? [0, '']
    const args = { product: product_id ?? '', after_ms, after_id, limit, max_looked: MAX_LOOKED }
    const [, last_ms, last_id, ...found] = await run('read-holds', shard, { args })
    const holds = found.map(([id, record, expires_at_ms]) => parseHold(id, record, expires_at_ms))
    return { holds, last: last_id === '' ? null : [last_ms, last_id] }
  }

  return {
    /**
     * Live holds after a place, soonest end first, at most `limit`. `next` is the place after which the next page begins,
     * or null at the end. Where few of many holds are of the product, a page may be short, or empty, and still not the last.
     */
    async readHolds(
      product_id: number | null,
      after: HoldPlace | null,
      limit: number,
    ): Promise<{ holds: Hold[]; next: HoldPlace | null }> {
      const asked =
        product_id === null
          ? Array.from({ length: shards }, (_, shard) => shard)
          : [shardOfProduct(product_id)]
      const parts = await Promise.all(asked.map((shard) => readPart(shard, product_id, after, limit)))
      // Behind the last hold that a shard has looked at there may be others of it, so nothing later is told yet.
      const lasts = parts.flatMap(({ last }) => (last ? [last] : []))
      const horizon = lasts.sort((one, other) => (isAfter(one, other) ? 1 : -1))[0] ?? null
      const holds = parts
        .flatMap((part) => part.holds)
        .filter((hold) => horizon === null || !isAfter(placeOf(hold), horizon))
        .sort((one, other) => (isAfter(placeOf(one), placeOf(other)) ? 1 : -1))
      const page = holds.slice(0, limit)
      const last = page.at(-1)
      return { holds: page, next: holds.length > limit && last ? placeOf(last) : horizon }
    },
  }
}
