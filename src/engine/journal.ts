import type { Fence } from './fence.ts'
import type { Keys } from './keys.ts'
import type { Nodes } from './nodes.ts'
import { type Entry, parseEntry } from './records.ts'
import { ask } from './redis.ts'
import type { Run } from './run.ts'

/** The journal of each shard: what Redis has decided and PostgreSQL may not have yet. Its length is the exposure. */
export function createJournal(options: { nodes: Nodes; run: Run; keys: Keys; fence: Fence }) {
  const { nodes, run, keys, fence } = options
  const key = (shard: number) => keys.shard(shard, 'journal')

  return {
    /**
     * An entry that is still in the journal, or undefined: PostgreSQL has it. With `at_epoch`, the journal of a Redis that has
     * another epoch does not count: it is one that was replaced and does not know of it.
     */
    async readEntry(shard: number, entry_id: string, at_epoch?: number): Promise<Entry | undefined> {
      const epoch = fence.lastEpoch(shard)
      const redis = nodes.of(shard)
      const reading = [
        redis.xrange(key(shard), entry_id, entry_id),
        redis.get(keys.shard(shard, 'epoch')),
      ] as const
      const [[found], epoch_there] = await ask('journal', Promise.all(reading))
      if (at_epoch !== undefined && Number(epoch_there) !== at_epoch) return undefined
      return found && parseEntry({ shard, entry_id: found[0], epoch }, found[1])
    },

    /** The oldest entries that are at least `min_age_ms` old by the Redis clock, at most `limit` of them. */
    async oldEntries(shard: number, min_age_ms: number, limit: number): Promise<Entry[]> {
      const epoch = fence.lastEpoch(shard)
      const [seconds = 0, micros = 0] = (await ask('journal', nodes.of(shard).time())).map(Number)
      const until = seconds * 1000 + Math.floor(micros / 1000) - min_age_ms
      const found = await ask(
        'journal',
        nodes.of(shard).xrange(key(shard), '-', Math.max(0, until), 'COUNT', limit),
      )
      return found.map(([entry_id, fields]) => parseEntry({ shard, entry_id, epoch }, fields))
    },

    /** Drops entries that PostgreSQL has committed. */
    async dropEntries(shard: number, entry_ids: string[]): Promise<void> {
      if (entry_ids.length > 0) await ask('journal', nodes.of(shard).xdel(key(shard), ...entry_ids))
    },

    /** Sets an entry aside that PostgreSQL keeps refusing. */
    async buryEntry(shard: number, entry_id: string, reason: string): Promise<void> {
      await run('bury-entry', shard, { args: { entry_id, reason } })
    },

    /** Entries that were set aside, with the ids they have there, at most `limit`. */
    async buriedEntries(shard: number, limit: number): Promise<Array<{ dead_id: string; entry: Entry }>> {
      const epoch = fence.lastEpoch(shard)
      const found = await ask(
        'journal',
        nodes.of(shard).xrange(keys.shard(shard, 'dead'), '-', '+', 'COUNT', limit),
      )
      return found.map(([dead_id, fields]) => ({
        dead_id,
        entry: parseEntry({ shard, entry_id: dead_id, epoch }, fields),
      }))
    },

    async dropBuried(shard: number, dead_id: string): Promise<void> {
      await ask('journal', nodes.of(shard).xdel(keys.shard(shard, 'dead'), dead_id))
    },

    buriedLength: async (shard: number): Promise<number> =>
      ask('journal', nodes.of(shard).xlen(keys.shard(shard, 'dead'))),

    /** How old the oldest entry is by the Redis clock, in ms; 0 where there is none. */
    async ageMs(shard: number): Promise<number> {
      const [oldest] = await ask('journal', nodes.of(shard).xrange(key(shard), '-', '+', 'COUNT', 1))
      if (!oldest) return 0
      const [seconds = 0] = (await ask('journal', nodes.of(shard).time())).map(Number)
      return Math.max(0, seconds * 1000 - Number.parseInt(oldest[0], 10))
    },

    length: async (shard: number): Promise<number> => ask('journal', nodes.of(shard).xlen(key(shard))),
  }
}
