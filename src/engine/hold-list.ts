import { expiresAtMs, type Hold, parseHold } from './records.ts'
import type { Run } from './run.ts'

/** Holds of other products that one step passes over: it stays under 2 ms. */
const MAX_LOOKED = 500

/** A place in the order of holds: by their end, as the score that Redis has for it, then by id. */
export type HoldPlace = readonly [score: string, id: string]
type Placed = { hold: Hold; place: HoldPlace }
type Part = { placed: Placed[]; last: HoldPlace | null }

const isAfter = ([score, id]: HoldPlace, [other_score, other_id]: HoldPlace) =>
  score === other_score ? id > other_id : Number(score) > Number(other_score)

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
    const [after_score, after_id] = after ?? ['0', '']
    const args = { product: product_id ?? '', after_score, after_id, limit, max_looked: MAX_LOOKED }
    const [, last_score, last_id, ...found] = await run('read-holds', shard, { args })
    const placed = found.map(([member, score]): Placed => {
      const hold = parseHold(member, expiresAtMs(score))
      return { hold, place: [score, hold.id] }
    })
    return { placed, last: last_id === '' ? null : [last_score, last_id] }
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
      const placed = parts
        .flatMap((part) => part.placed)
        .filter(({ place }) => horizon === null || !isAfter(place, horizon))
        .sort((one, other) => (isAfter(one.place, other.place) ? 1 : -1))
      const page = placed.slice(0, limit)
      const last = page.at(-1)
      return {
        holds: page.map(({ hold }) => hold),
        next: placed.length > limit && last ? last.place : horizon,
      }
    },
  }
}
