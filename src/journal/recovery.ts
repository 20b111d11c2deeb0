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
 * Finishes journal entries that nobody finished, up to an id: their process died between the step and the commit, or PostgreSQL was
 * away. Any number of processes may do so at once. Returns how many were finished. Rejects with UnavailableError when
 * PostgreSQL is still away.
 */
export async function finishJournal(
  engine: Engine,
  writer: Writer,
  shard: number,
  { up_to = '+', epoch = engine.fence.lastEpoch(shard) }: { up_to?: string; epoch?: number | undefined } = {},
): Promise<number> {
  let finished = 0
  for (;;) {
    const entries = await engine.journal.entries(shard, MAX_ENTRIES, up_to)
    const answers = await Promise.allSettled(entries.map((entry) => writer.commit({ ...entry, epoch })))
    const committed = answers.filter(({ status }) => status === 'fulfilled').length
    finished += committed
    await writer.drained()
    const reason = outage(answers)
    if (reason) throw reason
    if (entries.length < MAX_ENTRIES || committed === 0) return finished
  }
}

/**
 * Finishes what has been in the journal for too long, by this process's own clock: the ids of entries say when they came by that of
 * Redis, which may have been ahead.
 */
export function createFinisher(engine: Engine, writer: Writer, min_age_ms = MIN_AGE_MS) {
  const looks_by_shard = new Map<number, Array<{ last_id: string; at_ms: number }>>()

  return async (shard: number): Promise<void> => {
    const looks = looks_by_shard.get(shard) ?? []
    looks_by_shard.set(shard, looks)
    looks.push({ last_id: await engine.journal.lastId(shard), at_ms: performance.now() })
    const old = looks.filter(({ at_ms }) => at_ms <= performance.now() - min_age_ms)
    const up_to = old.at(-1)?.last_id
    if (!up_to) return
    looks.splice(0, old.length - 1)
    await finishJournal(engine, writer, shard, { up_to })
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
      const committed = await writer.commit(entry)
      await engine.journal.dropBuried(shard, dead_id)
      if (committed === 'committed') written += 1
      else refused.push(`PostgreSQL will never take it (${committed})`)
    } catch (error) {
      refused.push((error as Error).message)
    }
  }
  return { written, refused }
}
