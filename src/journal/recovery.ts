import { isOwnFault } from '../db/client.ts'
import type { Engine } from '../engine/engine.ts'
import { givesBack } from './refusals.ts'
import type { Writer } from './writer.ts'

/** What kept entries from being written, unless it was an entry itself, which is set aside in time. */
export function outage(answers: PromiseSettledResult<unknown>[]): Error | undefined {
  const reasons = answers.map((answer) =>
    answer.status === 'rejected' ? (answer.reason as Error) : undefined,
  )
  return reasons.find((reason) => reason && !isOwnFault(reason.cause ?? reason))
}

/** Entries younger than this are still in the hands of the process that made them: a caller waits no longer. */
const MIN_AGE_MS = 2_000
/** Entries that were set aside and are written once more in one go. */
const MAX_BURIED = 500

/**
 * Finishes journal entries that nobody finished, up to an id: their process died between the step and the commit, or PostgreSQL was
 * away. What can not be read is set aside. Any number of processes may do so at once. Returns how many were finished. Rejects with
 * UnavailableError when PostgreSQL is still away.
 */
export async function finishJournal(
  engine: Engine,
  writer: Writer,
  shard: number,
  { up_to = '+', epoch = engine.fence.lastEpoch(shard) }: { up_to?: string; epoch?: number | undefined } = {},
): Promise<number> {
  let finished = 0
  let behind: string | undefined
  do {
    const page = await engine.journal.page(shard, behind, up_to)
    await engine.journal.buryUnreadable(shard, page.unreadable, epoch)
    const answers = await Promise.allSettled(
      page.entries.map((entry) => writer.commitInTurn({ ...entry, epoch })),
    )
    finished += answers.filter(({ status }) => status === 'fulfilled').length
    const reason = outage(answers)
    if (reason) throw reason
    behind = page.last_id
  } while (behind !== undefined)
  await writer.dropped()
  return finished
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
    looks.splice(0, old.length - 1)
    const up_to = old.at(-1)?.last_id
    if (!up_to) return
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
  const readable = await engine.journal.buriedEntries(shard, MAX_BURIED)
  const count = Math.min(MAX_BURIED, await engine.journal.buriedLength(shard))
  for (let at = readable.length; at < count; at += 1) refused.push('it can not be read')
  // What makes room comes first: others may have been set aside for want of it.
  const in_turn = [true, false].flatMap((is_room) =>
    readable.filter(({ entry }) => givesBack(entry) === is_room),
  )
  for (const { dead_id, entry } of in_turn) {
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
