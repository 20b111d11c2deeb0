import type { Db, Sql } from '../db/client.ts'
import { findShelved, moveProducts, orderedTogether, type Shelved } from '../db/moves.ts'
import type { Engine } from '../engine/engine.ts'
import type { StoredHold } from '../engine/rebuilding.ts'
import { StartError } from '../errors.ts'
import { lockOf, type Rebuilder } from './rebuilder.ts'

/** From which shard products were moved, and how many holds and unpaid orders with them. */
export type Moved = { from: number; holds: number; orders: number }

const named = (ids: number[]) => `${ids.length === 1 ? 'product' : 'products'} ${ids.join(', ')}`

function refuseShared(ids: number[]): void {
  if (ids.length === 0) return
  throw new StartError(`move ${named(ids)} along, or wait until the carts that they share are paid or over`)
}

/** Written later, these entries would bring orders into a shard that their products have left. */
function refuseUnwritten(shard: number, count: number): void {
  if (count === 0) return
  throw new StartError(
    `shard ${shard} has ${count} journal entries that PostgreSQL refuses: see npm run verify`,
  )
}

/** Moves products between shards. */
export function createMover({ engine, db, rebuilder }: { engine: Engine; db: Db; rebuilder: Rebuilder }) {
  const { nodes, shards } = engine

  /** The one shard in which products live. Throws StartError where they can not be moved together, or only with others. */
  function shardOf(product_ids: number[], shelved: Shelved[]): number {
    const unknown = product_ids.find((id) => !shelved.some((product) => product.id === id))
    if (unknown !== undefined) throw new StartError(`there is no product ${unknown}`)
    const [first, ...others] = shelved
    const other = others.find(({ shard }) => shard !== first?.shard)
    if (!first || other) {
      throw new StartError(`product ${other?.id} does not live with the others: move it alone`)
    }
    const left = shelved.filter(({ is_named }) => !is_named).map(({ id }) => id)
    if (left.length > 0) throw new StartError(`move ${named(left)} along: they stand on one shelf`)
    return first.shard
  }

  /** Other products in unpaid orders and holds of these, dead ones aside. */
  async function heldTogether(
    sql: Sql,
    shard: number,
    product_ids: number[],
    holds: StoredHold[],
  ): Promise<number[]> {
    const ordered = await orderedTogether(sql, shard, product_ids)
    const held = holds.flatMap(({ items }) => items).map(({ product_id }) => product_id)
    return [...new Set([...ordered, ...held])].filter((id) => !product_ids.includes(id)).sort((a, b) => a - b)
  }

  /** The holds of these products that stand in a shard and have not ended. */
  async function holdsOf(shard: number, product_ids: number[]): Promise<StoredHold[]> {
    const [seconds = 0] = (await nodes.of(shard).time()).map(Number)
    const holds = await engine.allHolds(shard)
    return holds.filter(
      ({ items, is_prepaid, expires_at_ms }) =>
        (is_prepaid || expires_at_ms > seconds * 1000) &&
        items.some(({ product_id }) => product_ids.includes(product_id)),
    )
  }

  /** Which epoch a shard gets next, and which Redis has it. */
  async function nextOf(sql: Sql, shard: number) {
    const found = await rebuilder.readRedis(shard)
    const before = await rebuilder.findRecord(sql, shard)
    rebuilder.refuseStranger(before, found)
    const known = await rebuilder.lookBack(sql, shard, [], before, found)
    return {
      shard,
      epoch: await rebuilder.nextEpoch(sql, known, found),
      redis_identity: found.redis_identity,
    }
  }

  /**
   * Moves products while both shards are closed to everybody else. Whatever this is interrupted by: before PostgreSQL has
   * committed it a rebuild of both shards undoes it, and afterwards a rebuild of both completes it.
   */
  async function moveLocked(sql: Sql, product_ids: number[], from: number, to: number): Promise<Moved> {
    const [left, reached] = [await nextOf(sql, from), await nextOf(sql, to)]
    // What orders name as the epochs of their transitions has to be earlier than that in which the other shard goes on with them.
    const both = [left, { ...reached, epoch: Math.max(left.epoch, reached.epoch) }]
    refuseUnwritten(from, await engine.journal.buriedLength(from))
    refuseShared(await heldTogether(sql, from, product_ids, await holdsOf(from, product_ids)))
    for (const { shard, epoch } of both) {
      await rebuilder.begin(sql, shard, epoch, 'products move between shards')
    }
    const holds = await holdsOf(from, product_ids)
    // A cart may have come since it was looked at.
    const shared = await heldTogether(sql, from, product_ids, holds)
    const unwritten = await engine.journal.length(from)
    let orders = 0
    if (shared.length === 0 && unwritten === 0) {
      const epochs = new Map(both.map(({ shard, epoch }) => [shard, epoch]))
      const at_epoch = rebuilder.engineAt(to, epochs.get(to) ?? 0)
      await at_epoch.copyHolds(to, holds)
      await at_epoch.copyResults(from, to, new Set(product_ids))
      const hold_ids = holds.map(({ id }) => id)
      orders = await moveProducts(sql, { product_ids, from, to, hold_ids }, epochs)
    }
    for (const { shard, epoch, redis_identity } of both) {
      await rebuilder.complete(sql, shard, epoch, redis_identity)
    }
    refuseUnwritten(from, unwritten)
    refuseShared(shared)
    return { from, holds: holds.length, orders }
  }

  return {
    /**
     * Moves products, with their holds and unpaid orders, to another shard while they are sold. Both shards answer 503 meanwhile.
     * Throws StartError where that can not be, and UnavailableError; either way the products are where they were, or moved.
     */
    async move(product_ids: number[], to: number): Promise<Moved> {
      if (to >= shards) throw new StartError(`there is no shard ${to}: the shards are 0 to ${shards - 1}`)
      const from = shardOf(product_ids, await db.use((sql) => findShelved(sql, product_ids)))
      if (from === to) return { from, holds: 0, orders: 0 }
      return db.locked([from, to].map(lockOf), async (sql) => {
        // Somebody else may have moved them while this process waited for the locks.
        if (shardOf(product_ids, await findShelved(sql, product_ids)) !== from) {
          throw new StartError('they have just been moved by somebody else')
        }
        return moveLocked(sql, product_ids, from, to)
      })
    },
  }
}
