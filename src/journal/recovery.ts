import { isOwnFault } from '../db/client.ts'
import type { Engine } from '../engine/engine.ts'
import type { Writer } from './writer.ts'

/** What kept an entry from being written, unless it was the entry itself, which is set aside in time. */
function outage(answers: PromiseSettledResult<unknown>[]): Error | undefined {
  const reasons = answers.map((answer) =>
    answer.status === 'rejected' ? (answer.reason as Error) : undefined,
  )
  return reasons.find((reason) => reason && !isOwnFault(reason.cause ?? reason))
}

/** Entries younger than this are still in the hands of the process that made them: a caller waits no longer. */
const MIN_AGE_MS = 2_000
const MAX_ENTRIES = 500

/**
 * Finishes journal entries that nobody finished: their process died between the step and the commit, or PostgreSQL was
 * away. Any number of processes may do so at once. Returns how many were finished. Rejects with UnavailableError when
 * PostgreSQL is still away.
 */
export async function finishJournal(
  engine: Engine,
  writer: Writer,
  shard: number,
  min_age_ms = MIN_AGE_MS,
  epoch = engine.fence.lastEpoch(shard),
): Promise<number> {
  let finished = 0
  for (;;) {
    const entries = await engine.journal.oldEntries(shard, min_age_ms, MAX_ENTRIES)
    const answers = await Promise.allSettled(entries.map((entry) => writer.commit({ ...entry, epoch })))
    const committed = answers.filter(({ status }) => status === 'fulfilled').length
    finished += committed
    await writer.drained()
    const reason = outage(answers)
    if (reason) throw reason
    if (entries.length < MAX_ENTRIES || committed === 0) return finished
  }
}

/** Writes entries once more that had been set aside, and drops those that PostgreSQL takes now. */
export async function redriveBuried(
  engine: Engine,
  writer: Writer,
  shard: number,
): Promise<{ written: number; refused: string[] }> {
  let written = 0
  const refused: string[] = []
  for (const { dead_id, entry } of await engine.journal.buriedEntries(shard, MAX_ENTRIES)) {
    try {
      await writer.commit(entry)
      await engine.journal.dropBuried(shard, dead_id)
      written += 1
    } catch (error) {
      refused.push((error as Error).message)
    }
  }
  return { written, refused }
}
