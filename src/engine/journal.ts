import { UnavailableError } from '../errors.ts'
import { parseEpoch, readEpoch } from './epochs.ts'
import type { Fence } from './fence.ts'
import type { Keys } from './keys.ts'
import type { Nodes } from './nodes.ts'
import { type Entry, parseEntry } from './records.ts'
import { ask } from './redis.ts'
import type { Run } from './run.ts'

/** Entries read at once. */
const PAGE = 500

/** `unreadable` has the ids of entries that can not be read; `last_id` that of the last one where there may be more. */
export type JournalPage = { entries: Entry[]; unreadable: string[]; last_id: string | undefined }

/** An entry as the stream has it; undefined where it can not be read. */
function readEntry(...[from, fields]: Parameters<typeof parseEntry>): Entry | undefined {
  try {
    return parseEntry(from, fields)
  } catch {
    return undefined
  }
}

/** The journal of each shard: what Redis has decided and PostgreSQL may not have yet. Its length is the exposure. */
export function createJournal(options: {
  nodes: Nodes
  run: Run
  keys: Keys
  fence: Fence
  on_alarm: (message: string) => void
}) {
  const { nodes, run, keys, fence, on_alarm } = options
  const key = (shard: number) => keys.shard(shard, 'journal')

  /** The entries of a page that can be read, the ids of those that can not, and that of the last one. */
  async function read(shard: number, from: string, to: string, limit: number): Promise<JournalPage> {
    const epoch = fence.lastEpoch(shard)
    const found = await ask('journal', nodes.of(shard).xrange(key(shard), from, to, 'COUNT', limit))
    const page: JournalPage = { entries: [], unreadable: [], last_id: undefined }
    if (found.length === limit) page.last_id = found.at(-1)?.[0]
    for (const [entry_id, fields] of found) {
      const entry = readEntry({ shard, entry_id, epoch }, fields)
      if (entry) page.entries.push(entry)
      else page.unreadable.push(entry_id)
    }
    return page
  }

  return {
    /**
     * An entry that is still in the journal, or undefined: PostgreSQL has it. With `at_epoch`, the journal of a Redis that has
     * another epoch does not count: it is one that was replaced and does not know of it. Rejects with UnavailableError where it can
     * not be read.
     */
    async readEntry(shard: number, entry_id: string, at_epoch?: number): Promise<Entry | undefined> {
      const epoch = fence.lastEpoch(shard)
      const redis = nodes.of(shard)
      const reading = [
        redis.xrange(key(shard), entry_id, entry_id),
        readEpoch(redis, keys.shard(shard, 'epoch')),
      ] as const
      const [[found], epoch_there] = await ask('journal', Promise.all(reading))
      if (at_epoch !== undefined && parseEpoch(epoch_there).epoch !== at_epoch) return undefined
      if (!found) return undefined
      const entry = readEntry({ shard, entry_id, epoch }, found[1])
      if (!entry) throw new UnavailableError('unavailable', `journal entry ${entry_id} can not be read`)
      return entry
    },

    /** The oldest entries that can be read, at most `limit`. */
    entries: async (shard: number, limit: number): Promise<Entry[]> =>
      (await read(shard, '-', '+', limit)).entries,

    /** The next entries behind an id, up to another. */
    page: (shard: number, behind: string | undefined, up_to: string): Promise<JournalPage> =>
      read(shard, behind === undefined ? '-' : `(${behind}`, up_to, PAGE),

    /** All entries that can be read, the oldest first, in pages. */
    async *pages(shard: number): AsyncGenerator<Entry[]> {
      for (let from: string | undefined = '-'; from !== undefined; ) {
        const { entries, last_id }: JournalPage = await read(shard, from, '+', PAGE)
        if (entries.length > 0) yield entries
        from = last_id && `(${last_id}`
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
      if (undone.length > 0) await run('forget', shard, { args: { in_ms: 0 }, keys: undone, epoch })
    },

    /** Notes how far a writer has come, unless the shard has another epoch by now. */
    async noteMark(shard: number, { writer, commits }: { writer: string; commits: number }): Promise<void> {
      await run('drop-entries', shard, { args: { writer, commits } })
    },

    /** Sets an entry aside that PostgreSQL keeps refusing. */
    async buryEntry(shard: number, entry_id: string, reason: string): Promise<void> {
      await run('bury-entry', shard, { args: { entry_id, reason } })
    },

    /** Sets entries aside that can not be read, so that they hold up no others. */
    async buryUnreadable(shard: number, entry_ids: string[], epoch: number | undefined): Promise<void> {
      for (const entry_id of entry_ids) {
        const args = { entry_id, reason: 'it can not be read' }
        const [status] = await run('bury-entry', shard, { args, epoch })
        if (status !== 'buried') continue
        on_alarm(
          `journal entry ${entry_id} of shard ${shard} can not be read and was set aside: see npm run verify`,
        )
      }
    },

    /** Entries that were set aside and can be read, with the ids they have there, at most `limit`. */
    async buriedEntries(shard: number, limit: number): Promise<Array<{ dead_id: string; entry: Entry }>> {
      const epoch = fence.lastEpoch(shard)
      const found = await ask(
        'journal',
        nodes.of(shard).xrange(keys.shard(shard, 'dead'), '-', '+', 'COUNT', limit),
      )
      return found.flatMap(([dead_id, fields]) => {
        // It is not in the journal any more, where its id may be that of another one by now.
        const entry = readEntry({ shard, entry_id: '', epoch }, fields)
        return entry ? [{ dead_id, entry }] : []
      })
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
