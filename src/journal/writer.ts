import { randomUUID } from 'node:crypto'
import { type Db, isOwnFault } from '../db/client.ts'
import { createMark, type Mark } from '../db/marks.ts'
import type { Engine } from '../engine/engine.ts'
import type { Entry } from '../engine/records.ts'
import { UnavailableError } from '../errors.ts'
import { gather } from '../gather.ts'
import { createPut } from './put.ts'
import { type Committed, createRefusals } from './refusals.ts'
import { createTries } from './tries.ts'
import { isFloor } from './write.ts'

/** Rows a transaction writes at most; past some hundred a larger one saves nothing more. */
const MAX_BATCH = 256
/** One transaction at a time: what comes meanwhile gathers for the next one (group commit). */
const MAX_IN_FLIGHT = 1
const MAX_WAITING = 20_000
/** How long a caller waits for its commit. The entry stays in the journal, so it is finished later all the same. */
const MAX_WAIT_MS = 1_500

export type { Committed } from './refusals.ts'
export type Writer = ReturnType<typeof createWriter>

/**
 * The writer: brings journal entries into PostgreSQL, all that gathered in one transaction, and drops them from the
 * journal afterwards. Entries may come twice and in any order.
 */
export function createWriter(options: {
  db: Db
  engine: Engine
  /** How far its commits have come. */
  mark?: Mark
  on_alarm: (message: string) => void
  /** Hears of entries that PostgreSQL has now. */
  on_commit?: (entries: Entry[]) => void
  /** Hears that PostgreSQL lacks what it had committed. */
  on_past?: () => void
}) {
  const { db, engine, mark = createMark(randomUUID()), on_alarm, on_commit, on_past } = options
  const tries = createTries(engine, on_alarm)
  const put = createPut({ db, engine, mark, on_commit, on_drop: tries.forget, on_past })
  const { commitOne, commitAgain } = createRefusals({ db, engine, mark, put, on_alarm, on_past })

  /** One that is at fault fails none of its neighbours. */
  async function commitAlone(entry: Entry): Promise<Committed | Error> {
    const answer = await commitOne(entry).catch((error: Error) => error)
    if (isOwnFault(answer)) await tries.note(entry, answer as Error).catch(() => {})
    return answer
  }

  /** A batch that is refused goes in two halves, and so on: a bad entry among many costs some transactions more, not one for each. */
  async function commitBatch(entries: Entry[]): Promise<Array<Committed | Error>> {
    const [first, ...others] = entries
    if (first && others.length === 0) return [await commitAlone(first)]
    try {
      await put.put(entries)
      return entries.map(() => 'committed')
    } catch (error) {
      if (!isOwnFault(error)) throw error
      if (isFloor(error) && (await commitAgain(entries))) return entries.map(() => 'committed')
      const middle = Math.ceil(entries.length / 2)
      const halves = [entries.slice(0, middle), entries.slice(middle)]
      const answers: Array<Committed | Error> = []
      for (const half of halves) {
        answers.push(...(await commitBatch(half).catch((failure: Error) => half.map(() => failure))))
      }
      return answers
    }
  }

  const gathered = gather<Entry, Committed>({
    run: commitBatch,
    max_batch: MAX_BATCH,
    max_in_flight: MAX_IN_FLIGHT,
    max_waiting: MAX_WAITING,
  })

  async function commitInTurn(entry: Entry): Promise<Committed> {
    try {
      return await gathered.add(entry)
    } catch (error) {
      if (error instanceof UnavailableError) throw error
      throw new UnavailableError('unavailable', `PostgreSQL: ${(error as Error).message}`, { cause: error })
    }
  }

  async function commit(entry: Entry): Promise<Committed> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new UnavailableError('unavailable', 'PostgreSQL takes too long to commit')),
        MAX_WAIT_MS,
      )
    })
    try {
      return await Promise.race([commitInTurn(entry), late])
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    /**
     * Resolves once PostgreSQL has committed the entry. Rejects with UnavailableError; the entry then stays in the journal.
     * One whose shard was rebuilt after its epoch, so that Redis may have lost it, is committed only if the journal has it still.
     */
    commit,

    /** As `commit`, for one that nobody waits for: it takes as long as all that came before it. */
    commitInTurn,

    /** As `commit`, for an entry that an earlier request left behind; '' and entries that are gone are committed already. */
    async finish(shard: number, entry_id: string): Promise<Committed> {
      const entry = entry_id === '' ? undefined : await engine.journal.readEntry(shard, entry_id)
      return entry ? commit(entry) : 'committed'
    },

    /** Waits until what was written so far is dropped from the journal. */
    dropped: put.dropped,

    /** Waits until all that was added is written and dropped. */
    async drained(): Promise<void> {
      await gathered.drained()
      await put.dropped()
    },
  }
}
