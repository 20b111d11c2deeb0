import { setTimeout } from 'node:timers/promises'
import type { Entry } from '../engine/records.ts'
import { gather } from '../gather.ts'
import { outage } from '../journal/recovery.ts'
import type { Writer } from '../journal/writer.ts'

/** Half of what a transaction of the writer takes: buyers' commits find room beside it. */
const MAX_BATCH = 128
/** Between two portions that are not full: a few large ones cost PostgreSQL and this process half as much as many small ones. */
const GATHER_MS = 4
/** What has been ended and waits for its commit: about a second of work. Past it nothing more is ended. */
const MAX_WAITING = 2_048
/** While PostgreSQL is away what was ended is left to the journal, no faster than this lets it grow. */
const PAUSE_MS = 1_000

export type Outbox = ReturnType<typeof createOutbox>

/**
 * Commits what sweeps have ended, in portions, while they go on. An entry that is not committed here stays in the journal, and is
 * finished from there.
 */
export function createOutbox(options: {
  writer: Pick<Writer, 'commit'>
  stopped: AbortSignal
  /** Hears why nothing could be committed, and undefined when something was again. */
  note: (reason: Error | undefined) => void
}) {
  const { writer, stopped, note } = options
  let waiting = 0
  let is_away = false
  let wake: Array<() => void> = []

  async function commit(entries: Entry[]): Promise<Array<undefined>> {
    const answers = entries.map(() => undefined)
    // A stop waits for what PostgreSQL takes, not for PostgreSQL.
    if (is_away && stopped.aborted) return answers
    const committed = await Promise.allSettled(entries.map((entry) => writer.commit(entry)))
    // One shard may be closed; where none was committed it is PostgreSQL.
    is_away = committed.every(({ status }) => status === 'rejected')
    const reason = is_away ? outage(committed) : undefined
    note(reason)
    const pause_ms = reason ? PAUSE_MS : entries.length < MAX_BATCH ? GATHER_MS : 0
    if (pause_ms > 0) await setTimeout(pause_ms, undefined, { signal: stopped }).catch(() => {})
    return answers
  }

  const gathered = gather<Entry, undefined>({
    run: commit,
    max_batch: MAX_BATCH,
    max_in_flight: 1,
    max_waiting: Number.POSITIVE_INFINITY,
  })

  return {
    /** Resolves when there is room for more, or at the stop. */
    async room(): Promise<void> {
      while (waiting >= MAX_WAITING && !stopped.aborted) {
        await new Promise<void>((resolve) => {
          wake.push(resolve)
        })
      }
    },
    add(entries: Entry[]): void {
      waiting += entries.length
      for (const entry of entries) {
        void gathered.add(entry).finally(() => {
          waiting -= 1
          if (waiting >= MAX_WAITING && !stopped.aborted) return
          for (const resolve of wake) resolve()
          wake = []
        })
      }
    },
    drained: () => gathered.drained(),
  }
}
