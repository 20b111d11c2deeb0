import type { Db } from '../db/client.ts'
import { orderIdsUnpaid } from '../db/orders.ts'
import { auditCommitted, productsOfShard } from '../db/products.ts'
import { findShard } from '../db/shards.ts'
import { createEngine, type Engine } from '../engine/engine.ts'
import { parseEpoch, readEpoch } from '../engine/epochs.ts'
import { idOfDeadline } from '../engine/orders.ts'
import type { Product, Stock } from '../engine/products.ts'
import type { Hold } from '../engine/records.ts'
import { findAhead } from '../journal/past.ts'

/** While a sale runs Redis is a moment ahead of PostgreSQL: only what still differs after this many looks counts. */
const LOOKS = 3
export const LOOK_AGAIN_MS = 400

export type ProductReport = { id: number; name: string; stock: Stock | null; differences: string[] }
export type ShardReport = { shard: number; products: ProductReport[]; differences: string[] }

function heldOf(holds: Hold[], product_id: number): number {
  const items = holds.flatMap((hold) => hold.items).filter((item) => item.product_id === product_id)
  return items.reduce((sum, { qty }) => sum + qty, 0)
}

/** What is broken counts as missing; a Redis that does not answer is thrown again. */
function unlessAway(error: Error): undefined {
  if (!/BROKEN|WRONGTYPE/.test(error.message)) throw error
}

type Audit = Awaited<ReturnType<typeof auditCommitted>>

/** One look at a shard: each product's counters against PostgreSQL and against the holds and orders in Redis. */
async function look(engine: Engine, db: Db, shard: number, audit: Audit): Promise<ShardReport> {
  const { nodes, keys } = engine
  const redis = await nodes.locate(shard)
  const differences: string[] = []
  const known = await db.use((sql) => findShard(sql, shard))
  const { epoch, installation } = parseEpoch(await readEpoch(redis, keys.shard(shard, 'epoch')))
  if (epoch > 0 && installation !== engine.installation) {
    differences.push('Redis belongs to another installation: neither is to be repaired by the other')
    return { shard, products: [], differences }
  }
  const ahead = await db.use((sql) => findAhead(sql, [], () => engine.remembered.marks(shard)))
  if (known.is_behind || ahead.length > 0) {
    differences.push(
      'PostgreSQL has come back from the past: it is told again what Redis knows before Redis is rebuilt',
    )
  }
  if (epoch !== known.epoch) {
    differences.push(`Redis has epoch ${epoch || 'none'}, PostgreSQL expects ${known.epoch}`)
    return { shard, products: [], differences }
  }
  // An engine of its own: this look must not depend on whether the shard is open anywhere.
  const { shards, hold_ttl_ms, order_ttl_ms, prefix } = engine
  const looking = createEngine({ nodes, shards, hold_ttl_ms, order_ttl_ms, prefix, installation })
  looking.fence.open(shard, epoch)
  const recorded = await db.use((sql) => productsOfShard(sql, shard))
  for (const { id } of recorded) looking.knowProduct(id, shard, null)

  const found: Array<Product | undefined> = []
  // One by one: a product whose counters are broken must not hide the others.
  for (const { id } of recorded) found.push(await looking.readProduct(id).catch(unlessAway))
  const holds = await looking.allHolds(shard)
  const unfindable = await looking.countUnfindable(shard, holds)
  if (unfindable > 0) differences.push(`${unfindable} extended holds can not be found by their id`)
  const deadlines = new Set((await redis.zrange(keys.shard(shard, 'deadlines'), '0', '-1')).map(idOfDeadline))
  const unpaid = await db.use((sql) => orderIdsUnpaid(sql, shard))
  const products = recorded.map(({ id, total, pending, sold, terms }, at): ProductReport => {
    const stock = found[at]?.stock ?? null
    const compare = (what: string, redis_count: number | undefined, count: number) =>
      redis_count === count ? [] : [`${what}: Redis ${redis_count ?? 'nothing'}, PostgreSQL ${count}`]
    const held = heldOf(holds, id)
    return {
      id,
      name: terms.name,
      stock,
      differences: [
        ...compare('total', stock?.total, total),
        ...compare('pending', stock?.pending, pending),
        ...compare('sold', stock?.sold, sold),
        ...(stock && stock.held !== held ? [`held: counted ${stock.held}, in holds ${held}`] : []),
        ...audit.flatMap((own) =>
          own.id !== id || own.committed === own.ordered
            ? []
            : [`committed: counted ${own.committed}, in orders ${own.ordered}`],
        ),
      ],
    }
  })

  const missing = unpaid.filter((id) => !deadlines.has(id)).length
  if (missing > 0) differences.push(`${missing} unpaid orders of PostgreSQL are not in Redis`)
  const unknown = deadlines.size - (unpaid.length - missing)
  if (unknown > 0) differences.push(`${unknown} unpaid orders of Redis are not in PostgreSQL`)
  const buried = await looking.journal.buriedLength(shard)
  if (buried > 0)
    differences.push(
      `${buried} journal entries were set aside because PostgreSQL refused them or they can not be read`,
    )
  return { shard, products, differences }
}

const isClean = ({ products, differences }: ShardReport) =>
  differences.length === 0 && products.every((product) => product.differences.length === 0)

/**
 * Compares a shard's Redis with PostgreSQL. Looks again where they differ, since a running sale is always a few commits
 * on its way.
 * @param wait passes the time between two looks
 */
export async function verifyShard(
  engine: Engine,
  db: Db,
  shard: number,
  wait: (ms: number) => Promise<unknown>,
): Promise<ShardReport & { is_clean: boolean }> {
  // One statement, so that it needs no second look.
  const audit = await db.transaction((sql) => auditCommitted(sql, shard))
  const lookOnce = () =>
    look(engine, db, shard, audit).catch((error: Error): ShardReport => {
      unlessAway(error)
      return { shard, products: [], differences: [`Redis can not be read: ${error.message}`] }
    })
  let report = await lookOnce()
  for (let looks = 1; looks < LOOKS && !isClean(report); looks += 1) {
    await wait(LOOK_AGAIN_MS)
    report = await lookOnce()
  }
  return { ...report, is_clean: isClean(report) }
}
