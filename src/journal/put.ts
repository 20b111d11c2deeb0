import { type Db, inOrder, type Sql } from '../db/client.ts'
import { countCommit, type Mark, PastError } from '../db/marks.ts'
import type { Engine } from '../engine/engine.ts'
import type { Entry } from '../engine/records.ts'
import { refuseLate, write } from './write.ts'

export type Put = ReturnType<typeof createPut>

/** Puts entries into PostgreSQL, as many as there are in one transaction, and drops them from the journal afterwards. */
export function createPut(options: {
  db: Db
  engine: Engine
  mark: Mark
  /** Hears of entries that PostgreSQL has now. */
  on_commit?: ((entries: Entry[]) => void) | undefined
  /** Hears of entries that the journal need not keep. */
  on_drop: (entries: Entry[]) => void
  /** Hears that PostgreSQL lacks what it had committed. */
  on_past?: (() => void) | undefined
}) {
  const { db, engine, mark, on_commit, on_drop, on_past } = options
  let dropping: Promise<unknown> = Promise.resolve()

  /** One transaction, counted as one commit of this writer. */
  async function transact(work: (sql: Sql) => Array<Promise<unknown>>): Promise<void> {
    let count = mark.commits
    const counted = async (sql: Sql) => {
      count = await countCommit(sql, mark)
    }
    try {
      await db.transaction((sql) => inOrder([counted(sql), ...work(sql)]))
    } catch (error) {
      if ((error as Error).cause instanceof PastError) on_past?.()
      throw error
    }
    mark.commits = count
  }

  /** Drops what is committed. Failing that, the sweeper commits and drops it again, which changes nothing. */
  function drop(entries: Entry[]): void {
    on_drop(entries)
    const ids_by_step = new Map<string, { shard: number; epoch: number | undefined; ids: string[] }>()
    for (const { shard, epoch, entry_id } of entries) {
      const step = ids_by_step.get(`${shard}@${epoch}`) ?? { shard, epoch, ids: [] }
      ids_by_step.set(`${shard}@${epoch}`, step)
      if (entry_id !== '') step.ids.push(entry_id)
    }
    const drops = [...ids_by_step.values()].map(({ shard, epoch, ids }) =>
      engine.journal.dropEntries(shard, ids, epoch, mark),
    )
    dropping = Promise.allSettled([dropping, ...drops])
  }

  return {
    /** Drops an entry that PostgreSQL will never take, and forgets what it left in Redis. */
    undo(entry: Entry): void {
      drop([entry])
      dropping = Promise.allSettled([dropping, engine.journal.forgetUndone(entry)])
    },

    /** Throws LateError and what PostgreSQL says; then none of them is written. */
    async put(entries: Entry[]): Promise<void> {
      await transact((sql) => [refuseLate(sql, entries), write(sql, entries)])
      on_commit?.(entries)
      drop(entries)
    },

    /** Writes something else in the place of an entry, which stays in the journal. */
    async putInstead(entry: Entry, other: Entry): Promise<void> {
      await transact((sql) => [refuseLate(sql, [entry]), write(sql, [other])])
    },

    /** Waits until all that was written is dropped. */
    async dropped(): Promise<void> {
      await dropping
    },
  }
}
