import { randomUUID } from 'node:crypto'
import { findAdjustment } from '../db/adjustments.ts'
import { type Db, inOrder, isOwnFault, type Sql } from '../db/client.ts'
import { countCommit, createMark, type Mark, marksAhead, PastError } from '../db/marks.ts'
import { EarlyError, findOrders, OtherHistoryError } from '../db/orders.ts'
import { findPayments, isWrittenBy, KeyTakenError } from '../db/payments.ts'
import type { Engine } from '../engine/engine.ts'
import { type Entry, isOrComesOf, makeEntry, type Payment } from '../engine/records.ts'
import { UnavailableError } from '../errors.ts'
import { gather } from '../gather.ts'
import { isFloor, isTooMuch, LateError, refuseLate, write } from './write.ts'

/** Rows a transaction writes at most; past some hundred a larger one saves nothing more. */
const MAX_BATCH = 256
/** One transaction at a time: what comes meanwhile gathers for the next one (group commit). */
const MAX_IN_FLIGHT = 1
const MAX_WAITING = 20_000
/** How long a caller waits for its commit. The entry stays in the journal, so it is finished later all the same. */
const MAX_WAIT_MS = 1_500

/** Tries after which an entry that PostgreSQL refuses for its data is set aside. */
const MAX_TRIES = 5
/** Entries whose tries are remembered: others have finished most of those that were refused here. */
const MAX_REFUSED = 1_000
/** How often a refusal of the floor is looked into while the shard goes on; after that it is, while the shard stands still. */
const MAX_LOOKS = 3

/**
 * `refused`: PostgreSQL's floor would not take the order, or its checks the added units, so they were undone. `key_taken`: the
 * payment's key belongs to an order in another shard, so that what it did was undone.
 */
export type Committed = 'committed' | 'refused' | 'key_taken'
export type Writer = ReturnType<typeof createWriter>

/** Money that came for an order which the floor refused has to go back, and its sender is told so first. */
function refundDue(payment: Payment): Payment {
  if (payment.status !== 'success' || payment.outcome === 'refund_due') return payment
  const first_outcome = payment.first_outcome === 'applied' ? 'refund_due' : payment.first_outcome
  return { ...payment, outcome: 'refund_due', first_outcome, reason: 'no_units_left' }
}

/** Whether all that an entry can do on the floor is make room. */
const givesBack = ({ order, adjustment }: Entry) =>
  order?.order_status === 'cancelled' || (adjustment !== null && adjustment.delta > 0)

/** Whether two entries are one: their ids may have been given out again by a Redis that had lost the first. */
const isSameEntry = (one: Entry, other: Entry) =>
  one.order?.history === other.order?.history &&
  JSON.stringify([one.payments, one.adjustment]) === JSON.stringify([other.payments, other.adjustment])

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
  let dropping: Promise<unknown> = Promise.resolve()
  const tries_by_entry = new Map<string, number>()
  const nameOf = ({ shard, entry_id }: Entry) => `${shard}:${entry_id}`

  /** Counts a refusal for the entry's data, and sets the entry aside when there were too many. */
  async function noteRefusal(entry: Entry, error: Error): Promise<void> {
    const { shard, entry_id } = entry
    if (entry_id === '') return
    const name = nameOf(entry)
    const tries = (tries_by_entry.get(name) ?? 0) + 1
    const [oldest] = tries_by_entry.keys()
    if (oldest !== undefined && tries_by_entry.size >= MAX_REFUSED) tries_by_entry.delete(oldest)
    tries_by_entry.set(name, tries)
    on_alarm(
      `journal entry ${entry_id} of shard ${shard} can not be written (try ${tries}): ${error.message}`,
    )
    if (tries < MAX_TRIES) return
    await engine.journal.buryEntry(shard, entry_id, error.message)
    tries_by_entry.delete(name)
    on_alarm(`journal entry ${entry_id} of shard ${shard} was set aside: see npm run verify`)
  }

  /** Drops what is committed. Failing that, the sweeper commits and drops it again, which changes nothing. */
  function drop(entries: Entry[]): void {
    const ids_by_step = new Map<string, { shard: number; epoch: number | undefined; ids: string[] }>()
    for (const entry of entries) {
      const { shard, epoch, entry_id } = entry
      tries_by_entry.delete(nameOf(entry))
      const step = ids_by_step.get(`${shard}@${epoch}`) ?? { shard, epoch, ids: [] }
      ids_by_step.set(`${shard}@${epoch}`, step)
      if (entry_id !== '') step.ids.push(entry_id)
    }
    const drops = [...ids_by_step.values()].map(({ shard, epoch, ids }) =>
      engine.journal.dropEntries(shard, ids, epoch, mark),
    )
    dropping = Promise.allSettled([dropping, ...drops])
  }

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

  async function writeBatch(entries: Entry[]): Promise<void> {
    await transact((sql) => [refuseLate(sql, entries), write(sql, entries)])
    on_commit?.(entries)
  }

  /** Whether PostgreSQL has this very entry, with each of its parts: others may have written it. */
  async function isWritten({ order, payments, adjustment }: Entry): Promise<boolean> {
    return db.use(async (sql) => {
      const [known] = order ? await findOrders(sql, [order.id]) : []
      if (order && !(known && isOrComesOf(known, order))) return false
      const keys = payments.map(({ idempotency_key }) => idempotency_key)
      const rows = new Map((await findPayments(sql, keys)).map((row) => [row.idempotency_key, row]))
      if (!payments.every((payment) => isWrittenBy(payment, rows.get(payment.idempotency_key)))) return false
      if (!adjustment) return true
      const { product_id, idempotency_key, delta } = adjustment
      return (await findAdjustment(sql, product_id, idempotency_key))?.delta === delta
    })
  }

  /**
   * An entry whose shard was rebuilt since. One that is still in the journal counts all the same; one that is gone was written by
   * somebody else, or is lost.
   */
  async function commitLate(entry: Entry, late: LateError): Promise<Committed | Error> {
    const { shard, entry_id } = entry
    // Others have another epoch, and may have another Redis.
    if (engine.fence.lastEpoch(shard) !== late.epoch) {
      engine.fence.close(shard, `PostgreSQL has epoch ${late.epoch}`, 'state')
    }
    const kept = await engine.journal.readEntry(shard, entry_id, late.epoch)
    if (kept && isSameEntry(kept, entry)) return commitOne({ ...entry, epoch: late.epoch })
    return (await isWritten(entry)) ? 'committed' : new UnavailableError('recovering', late.message)
  }

  /**
   * Payments that were decided on an order which PostgreSQL does not have: it is in the journal, before them, or was undone; or somebody
   * else has written it meanwhile.
   */
  async function commitEarly(entry: Entry): Promise<Committed | Error> {
    for await (const page of engine.journal.pages(entry.shard)) {
      const before = page.filter(({ order }) => order?.id === entry.basis?.id)
      for (const one of before) await commitOne({ ...one, epoch: entry.epoch })
    }
    try {
      await writeBatch([entry])
      drop([entry])
      return 'committed'
    } catch (error) {
      if (error instanceof LateError) return commitLate(entry, error)
      if (!(error instanceof EarlyError)) throw error
      undo(entry, error.message)
      return new UnavailableError('recovering', error.message)
    }
  }

  /** What PostgreSQL will never take is taken out of Redis again, by a rebuild. */
  function undo(entry: Entry, why: string): void {
    drop([entry])
    on_alarm(why)
    engine.fence.close(entry.shard, why, 'wrong')
  }

  /** Writes all that the journal has to make room with. What is refused for its data is left to those who finish the journal. */
  async function giveBackFirst({ shard, epoch }: Entry): Promise<void> {
    for await (const page of engine.journal.pages(shard)) {
      const giving = page.filter(givesBack).map((entry) => ({ ...entry, epoch }))
      if (giving.length === 0) continue
      try {
        await writeBatch(giving)
        drop(giving)
      } catch (error) {
        if (!isOwnFault(error)) throw error
        for (const one of giving) {
          await writeBatch([one]).catch((refused: Error) => {
            if (!isOwnFault(refused)) throw refused
          })
        }
      }
    }
  }

  /** Whether PostgreSQL lacks commits that this process or Redis knows of: then the floor does not know what it says. */
  async function isPast(shard: number): Promise<boolean> {
    const marks = [{ ...mark }, ...(await engine.remembered.marks(shard))]
    return (await db.use((sql) => marksAhead(sql, marks))).length > 0
  }

  /**
   * What the floor would not take. Units are free in Redis before PostgreSQL has what freed them, so its first word is no verdict: it is
   * one once everything that the journal has to make room with is written, and nothing has come to the journal meanwhile. While
   * the shard goes on there may always be more; then the shard closes, and the rebuild looks again while nobody can change it.
   */
  async function commitRefused(entry: Entry): Promise<Committed | Error> {
    const { shard, order, adjustment } = entry
    for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
      const last_id = await engine.journal.lastId(shard)
      await giveBackFirst(entry)
      try {
        await writeBatch([entry])
        drop([entry])
        return 'committed'
      } catch (error) {
        if (error instanceof LateError) return commitLate(entry, error)
        if (!isFloor(error)) throw error
      }
      if ((await engine.journal.lastId(shard)) !== last_id) continue
      if (await isPast(shard)) {
        on_past?.()
        return new UnavailableError('recovering', 'PostgreSQL lacks what it had')
      }
      if (order) {
        const payments = entry.payments.map(refundDue)
        await transact((sql) => [refuseLate(sql, [entry]), write(sql, [makeEntry(entry, { payments })])])
      }
      const what = order
        ? `order ${order.id}`
        : `a change of product ${adjustment?.product_id} by ${adjustment?.delta}`
      undo(entry, `PostgreSQL refused ${what}: its product is oversold in Redis`)
      return 'refused'
    }
    engine.fence.close(shard, 'PostgreSQL refuses an order', 'wrong')
    return new UnavailableError('recovering', 'PostgreSQL has not heard yet of what made room for it')
  }

  async function commitOne(entry: Entry): Promise<Committed | Error> {
    try {
      await writeBatch([entry])
      drop([entry])
      return 'committed'
    } catch (error) {
      if (error instanceof LateError) return commitLate(entry, error)
      if (isTooMuch(error) && entry.adjustment) {
        undo(entry, `PostgreSQL refused to add units to product ${entry.adjustment.product_id}`)
        return 'refused'
      }
      if (error instanceof KeyTakenError) {
        undo(entry, error.message)
        return 'key_taken'
      }
      if (error instanceof OtherHistoryError) {
        undo(entry, error.message)
        return new UnavailableError('recovering', error.message)
      }
      if (error instanceof EarlyError) return commitEarly(entry)
      return isFloor(error) ? commitRefused(entry) : (error as Error)
    }
  }

  /** Writes a batch that the floor has refused once more, when all that makes room is written. Returns whether it was taken. */
  async function commitAgain(entries: Entry[]): Promise<boolean> {
    try {
      const by_shard = new Map(entries.map((entry) => [entry.shard, entry]))
      for (const entry of by_shard.values()) await giveBackFirst(entry)
      await writeBatch(entries)
      drop(entries)
      return true
    } catch (error) {
      if (!isOwnFault(error)) throw error
      return false
    }
  }

  async function commitBatch(entries: Entry[]): Promise<Array<Committed | Error>> {
    try {
      await writeBatch(entries)
      drop(entries)
      return entries.map(() => 'committed')
    } catch (error) {
      if (!isOwnFault(error)) throw error
      if (isFloor(error) && (await commitAgain(entries))) return entries.map(() => 'committed')
      // One of them is at fault: each goes on its own, so that it fails none of its neighbours.
      const answers: Array<Committed | Error> = []
      for (const entry of entries) {
        const answer = await commitOne(entry).catch((error: Error) => error)
        if (isOwnFault(answer)) await noteRefusal(entry, answer as Error).catch(() => {})
        answers.push(answer)
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

  async function commit(entry: Entry): Promise<Committed> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new UnavailableError('unavailable', 'PostgreSQL takes too long to commit')),
        MAX_WAIT_MS,
      )
    })
    try {
      return await Promise.race([gathered.add(entry), late])
    } catch (error) {
      if (error instanceof UnavailableError) throw error
      throw new UnavailableError('unavailable', `PostgreSQL: ${(error as Error).message}`, { cause: error })
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

    /** The same for an entry that an earlier request left behind; '' and entries that are gone are committed already. */
    async finish(shard: number, entry_id: string): Promise<Committed> {
      const entry = entry_id === '' ? undefined : await engine.journal.readEntry(shard, entry_id)
      return entry ? commit(entry) : 'committed'
    },

    /** Waits until what was written so far is dropped from the journal. */
    async dropped(): Promise<void> {
      await dropping
    },

    /** Waits until all that was added is written and dropped. */
    async drained(): Promise<void> {
      await gathered.drained()
      await dropping
    },
  }
}
