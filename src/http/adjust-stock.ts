import { findAdjustment } from '../db/adjustments.ts'
import { refuseUnloaded } from '../db/terms.ts'
import type { Entry } from '../engine/records.ts'
import { UnavailableError } from '../errors.ts'
import type { Deps } from './deps.ts'

export type Adjusted =
  | { status: 'adjusted' | 'replayed'; shelf: string | null }
  | { status: 'stock_in_use'; available: number }
  | { status: 'not_found' | 'key_reused' | 'too_much' }

/**
 * Changes the units of a product, once for each key, for ever: Redis remembers a key for a day, PostgreSQL for as long as there
 * is the product. Resolves once PostgreSQL has committed the change. Rejects with UnavailableError; then the same call again
 * has one effect.
 */
export function createAdjust({ engine, writer, db }: Pick<Deps, 'engine' | 'writer' | 'db'>) {
  const find = (id: number, key: string) => db.use((sql) => findAdjustment(sql, id, key))

  /** Commits the change. Returns whether PostgreSQL took it; it refuses units that would be worth too much. */
  async function commit(entry: Entry, delta: number): Promise<boolean> {
    const committed = await writer.commit(entry)
    // Units that PostgreSQL does not let go are sold there: the shard is rebuilt, and then Redis says how many are free.
    if (committed === 'refused' && delta < 0) throw new UnavailableError('recovering', 'the shard is rebuilt')
    return committed !== 'refused'
  }

  return async (id: number, delta: number, key: string, reason: string | null): Promise<Adjusted> => {
    const shard = engine.shardOfProduct(id)
    const epoch = engine.fence.epoch(shard)
    const known = await find(id, key)
    if (!known) return { status: 'not_found' }
    refuseUnloaded(known.loaded_version)
    const { shelf } = known
    if (known.delta !== null)
      return known.delta === delta ? { status: 'replayed', shelf } : { status: 'key_reused' }
    // Behind a rebuild Redis may have forgotten a key that PostgreSQL has got to know since it was asked.
    if (engine.fence.epoch(shard) !== epoch) throw new UnavailableError('recovering', 'the shard was rebuilt')
    const result = await engine.adjustStock(id, delta, key, reason)
    if (result.status === 'adjusted') {
      return (await commit(result.entry, delta)) ? { status: 'adjusted', shelf } : { status: 'too_much' }
    }
    if (result.status !== 'replayed') return result
    const left = result.entry_id === '' ? undefined : await engine.journal.readEntry(shard, result.entry_id)
    if (left && !(await commit(left, delta))) return { status: 'too_much' }
    // Redis remembers a key also where PostgreSQL refused its entry for good, and it was set aside.
    if ((await find(id, key))?.delta == null)
      throw new UnavailableError('unavailable', 'the change is not written')
    return { status: 'replayed', shelf }
  }
}
