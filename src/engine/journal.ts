import { UnavailableError } from '../errors.ts'
import { parseEpoch } from './epochs.ts'
import type { Fence } from './fence.ts'
import type { Keys } from './keys.ts'
import type { Nodes } from './nodes.ts'
import { type Entry, parseEntry } from './records.ts'
import { ask } from './redis.ts'
import type { Run } from './run.ts'

/** Entries read at once. */
const PAGE = 500

/** The journal of each shard: what Redis has decided and PostgreSQL may not have yet. Its length is the exposure. */
export function createJournal(options: { nodes: Nodes; run: Run; keys: Keys; fence: Fence }) {
  const { nodes, run, keys, fence } = options
  const key = (shard: number) => keys.shard(shard, 'journal')

  async function read(shard: number, from: string, to: string, limit: number): Promise<Entry[]> {
    const epoch = fence.lastEpoch(shard)
    const found = await ask('journal', nodes.of(shard).xrange(key(shard), from, to, 'COUNT', limit))
    return found.map(([entry_id, fields]) => parseEntry({ shard, entry_id, epoch }, fields))
  }

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
      if (at_epoch !== undefined && parseEpoch(epoch_there).epoch !== at_epoch) return undefined
      return found && parseEntry({ shard, entry_id: found[0], epoch }, found[1])
    },

    /** The oldest entries, at most `limit` of them, up to an id where one is given. */
    entries: (shard: number, limit: number, up_to = '+'): Promise<Entry[]> => read(shard, '-', up_to, limit),

    /** All entries, the oldest first, in pages. */
    async *pages(shard: number): AsyncGenerator<Entry[]> {
      for (let from = '-'; ; ) {
        const page = await read(shard, from, '+', PAGE)
        if (page.length > 0) yield page
        if (page.length < PAGE) return
        from = `(${page.at(-1)?.entry_id}`
      }
    },

    /** The id of the entry that came last, whether or not it is still there; '' where none ever came. */
    async lastId(shard: number): Promise<string> {
      const info = (await nodes
        .of(shard)
        .xinfo('STREAM', key(shard))
        .catch((error: Error) => {
          if (error.message.includes('no such key')) return []
          throw new UnavailableError('unavailable', `journal: ${error.message}`, { cause: error })
        })) as unknown[]
      return String(info[info.indexOf('last-generated-id') + 1] ?? '')
    },

    /** Drops entries that PostgreSQL has committed, unless the shard has another epoch by now, and notes how far a writer has come. */
    async dropEntries(
      shard: number,
      entry_ids: string[],
      epoch: number | undefined,
      { writer, commits }: { writer: string; commits: number },
    ): Promise<void> {
      await run('drop-entries', shard, { args: { writer, commits }, rest: entry_ids, epoch })
    },

    /**
     * Forgets the order, and the result of the change of stock, that an entry left which PostgreSQL will never take. What is still read
     * of earlier epochs, should PostgreSQL come back from the past, must not have them.
     */
    async forgetUndone({ shard, epoch, order, adjustment }: Entry): Promise<void> {
      const undone = order ? [keys.id(shard, 'order', order.id)] : []
      if (adjustment) {
        const { product_id, idempotency_key } = adjustment
        undone.push(keys.idem(shard, `stock:${product_id}`, idempotency_key))
      }
      if (undone.length > 0) await run('forget', shard, { args: {}, keys: undone, epoch })
    },

    /** Notes how far a writer has come, unless the shard has another epoch by now. */
    async noteMark(shard: number, { writer, commits }: { writer: string; commits: number }): Promise<void> {
      await run('drop-entries', shard, { args: { writer, commits } })
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
        // It is not in the journal any more, where its id may be that of another one by now.
        entry: parseEntry({ shard, entry_id: '', epoch }, fields),
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
