import { UnavailableError } from '../errors.ts'
import type { Fence } from './fence.ts'
import { shardOfId } from './ids.ts'
import type { Order } from './records.ts'

/** A product that was moved to another shard. The later a move, the higher its number. */
export type Move = { move: number; product_id: number; from_shard: number; to_shard: number }
export type Places = ReturnType<typeof createPlaces>

/**
 * Where things live: products, and what hangs on ids. A product lives where its id says until it is moved; the ids of its holds
 * and orders name the shard of their beginning for ever, so that they are looked for there first, and then where products of that
 * shard have moved to. A process knows of a move before it opens either of the two shards again.
 */
export function createPlaces({ shards, fence }: { shards: number; fence: Fence }) {
  const shard_by_product = new Map<number, number>()
  let moves: Move[] = []
  const last_moves = new Map<number, Move>()
  /** Where products have moved to, by the shard that they left. */
  const ways = new Map<number, Set<number>>()

  /** The shards that can be reached from one by moves, without itself. */
  function beyond(shard: number): number[] {
    const found = new Set([shard])
    for (const one of found) for (const next of ways.get(one) ?? []) found.add(next)
    return [...found].slice(1)
  }

  return {
    shardOfProduct: (product_id: number): number =>
      last_moves.get(product_id)?.to_shard ?? shard_by_product.get(product_id) ?? product_id % shards,

    /** Tells in which shard a product lives, unless it is known to have been moved. */
    knowProduct(product_id: number, shard: number): void {
      shard_by_product.set(product_id, shard)
    },

    /**
     * Tells all moves that there are, read while nobody can move anything from or to this shard. Those from or to it that are not among
     * them have not been: PostgreSQL has lost them, and their numbers come again.
     */
    knowMoves(shard: number, known: Move[]): void {
      const isOfShard = ({ from_shard, to_shard }: Move) => from_shard === shard || to_shard === shard
      moves = [...moves.filter((move) => !isOfShard(move)), ...known.filter(isOfShard)]
      last_moves.clear()
      ways.clear()
      for (const move of moves) {
        const { product_id, from_shard, to_shard } = move
        ways.set(from_shard, (ways.get(from_shard) ?? new Set()).add(to_shard))
        if (move.move > (last_moves.get(product_id)?.move ?? 0)) last_moves.set(product_id, move)
      }
    },

    /** Whether what an id names may live elsewhere than in the shard of its beginning. */
    mayHaveMoved: (id: string): boolean => beyond(shardOfId(id)).length > 0,

    /** Whether the products of an order have moved away from the shard of its beginning, to one that is open. */
    hasMoved({ id, items: [item] }: Order): boolean {
      const move = item && last_moves.get(item.product_id)
      return move !== undefined && move.to_shard !== shardOfId(id) && fence.isOpen(move.to_shard)
    },

    /**
     * Looks for what an id names: in its own shard, then in those to which products of it have moved, until one knows it; a shard that
     * is away holds up no other. Where none knows it, the first answer counts. Rejects with UnavailableError where it may be in
     * a shard that is away, or have moved past the look.
     */
    async find<Answer>(
      id: string,
      look: (shard: number) => Promise<Answer>,
      isUnknown: (answer: Answer) => boolean,
    ): Promise<Answer> {
      const own = shardOfId(id)
      let away: UnavailableError | undefined
      async function ask(shard: number): Promise<{ answer: Answer } | undefined> {
        try {
          return { answer: await look(shard) }
        } catch (error) {
          if (!(error instanceof UnavailableError)) throw error
          away ??= error
          return undefined
        }
      }
      const first = await ask(own)
      if (first && (ways.size === 0 || !isUnknown(first.answer))) return first.answer
      const others = beyond(own).map((shard) => ({ shard, epoch: fence.lastEpoch(shard) }))
      for (const { shard, epoch } of others) {
        const found = await ask(shard)
        if (found && !isUnknown(found.answer)) return found.answer
        if (fence.lastEpoch(shard) !== epoch)
          away ??= new UnavailableError('recovering', `shard ${shard} was rebuilt while ${id} was looked for`)
      }
      if (away || !first) throw away
      return first.answer
    },
  }
}
