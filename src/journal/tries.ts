import type { Engine } from '../engine/engine.ts'
import type { Entry } from '../engine/records.ts'

/** Tries after which an entry that PostgreSQL refuses for its data is set aside. */
const MAX_TRIES = 5
/** Entries whose tries are remembered: others have finished most of those that were refused here. */
const MAX_REFUSED = 1_000

/** Counts how often PostgreSQL refused an entry for its data, and sets the entry aside when that was too often. */
export function createTries(engine: Engine, on_alarm: (message: string) => void) {
  const tries_by_entry = new Map<string, number>()
  const nameOf = ({ shard, entry_id }: Entry) => `${shard}:${entry_id}`

  return {
    async note(entry: Entry, error: Error): Promise<void> {
      const { shard, entry_id } = entry
      if (entry_id === '') return
      const name = nameOf(entry)
      const tries = (tries_by_entry.get(name) ?? 0) + 1
      const [oldest] = tries_by_entry.keys()
      const is_full = tries === 1 && tries_by_entry.size >= MAX_REFUSED
      if (is_full && oldest !== undefined) tries_by_entry.delete(oldest)
      tries_by_entry.set(name, tries)
      on_alarm(
        `journal entry ${entry_id} of shard ${shard} can not be written (try ${tries}): ${error.message}`,
      )
      if (tries < MAX_TRIES) return
      await engine.journal.buryEntry(shard, entry_id, error.message)
      tries_by_entry.delete(name)
      on_alarm(`journal entry ${entry_id} of shard ${shard} was set aside: see npm run verify`)
    },

    /** What is written, or dropped, has no more tries. */
    forget(entries: Entry[]): void {
      for (const entry of entries) tries_by_entry.delete(nameOf(entry))
    },
  }
}
