import type { Redis } from 'ioredis'
import type { Keys } from './keys.ts'
import { type Entry, parseEntry } from './records.ts'
import { ask } from './redis.ts'

/** The journal of each shard: what Redis has decided and PostgreSQL may not have yet. Its length is the exposure. */
export function createJournal(options: { redis: Redis; keys: Keys }) {
  const { redis, keys } = options
  const key = (shard: number) => keys.shard(shard, 'journal')

  return {
    /** An entry that is still in the journal, or undefined: PostgreSQL has it. */
    async readEntry(shard: number, entry_id: string): Promise<Entry | undefined> {
      const [found] = await ask('journal', redis.xrange(key(shard), entry_id, entry_id))
      return found && parseEntry(shard, found[0], found[1])
    },

    /** The oldest entries that are at least `min_age_ms` old by the Redis clock, at most `limit` of them. */
    async oldEntries(shard: number, min_age_ms: number, limit: number): Promise<Entry[]> {
      const [seconds] = (await ask('journal', redis.time())) as unknown as [string, string]
      const until = Number(seconds) * 1000 - min_age_ms
      const found = await ask('journal', redis.xrange(key(shard), '-', Math.max(0, until), 'COUNT', limit))
      return found.map(([entry_id, fields]) => parseEntry(shard, entry_id, fields))
    },

    /** Drops entries that PostgreSQL has committed. */
    async dropEntries(shard: number, entry_ids: string[]): Promise<void> {
      if (entry_ids.length > 0) await ask('journal', redis.xdel(key(shard), ...entry_ids))
    },

    length: (shard: number): Promise<number> => ask('journal', redis.xlen(key(shard))),
  }
}
