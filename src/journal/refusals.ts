import { findAdjustment } from '../db/adjustments.ts'
import { type Db, isOwnFault } from '../db/client.ts'
import type { Mark } from '../db/marks.ts'
import { EarlyError, findOrders, OtherHistoryError } from '../db/orders.ts'
import { findPayments, isWrittenBy, KeyTakenError } from '../db/payments.ts'
import type { Engine } from '../engine/engine.ts'
import { type Entry, isOrComesOf, makeEntry, type Payment } from '../engine/records.ts'
import { UnavailableError } from '../errors.ts'
import { findAhead } from './past.ts'
import type { Put } from './put.ts'
import { isFloor, isTooMuch, LateError } from './write.ts'

/** Entries set aside among which is looked for what made room. */
const MAX_BURIED = 1_000
/** How often a refusal of the floor is looked into while the shard goes on; after that it is, while the shard stands still. */
const MAX_LOOKS = 3

/**
 * `refused`: PostgreSQL's floor would not take the order, or its checks the added units, so they were undone. `key_taken`: the
 * payment's key belongs to an order in another shard, so that what it did was undone.
 */
export type Committed = 'committed' | 'refused' | 'key_taken'

/** Money that came for an order which the floor refused has to go back, and its sender is told so first. */
function refundDue(payment: Payment): Payment {
  if (payment.status !== 'success' || payment.outcome === 'refund_due') return payment
  const first_outcome = payment.first_outcome === 'applied' ? 'refund_due' : payment.first_outcome
  return { ...payment, outcome: 'refund_due', first_outcome, reason: 'no_units_left' }
}

/** Whether all that an entry can do on the floor is make room. */
export const givesBack = ({ order, adjustment }: Entry) =>
  order?.order_status === 'cancelled' || (adjustment !== null && adjustment.delta > 0)

/** Whether it makes room for more units of a product, which may be worth no more than can be counted. */
const takesOut = ({ adjustment }: Entry) => adjustment !== null && adjustment.delta < 0

/** What may make room for an entry that was refused for this. */
const roomFor = (error: unknown) => (isTooMuch(error) ? takesOut : givesBack)

const productsOf = ({ order, adjustment }: Entry) =>
  [...(order?.items ?? []), ...(adjustment ? [adjustment] : [])].map(({ product_id }) => product_id)

/** Whether two entries are one: their ids may have been given out again by a Redis that had lost the first. */
const isSameEntry = (one: Entry, other: Entry) =>
  one.order?.history === other.order?.history &&
  JSON.stringify([one.payments, one.adjustment]) === JSON.stringify([other.payments, other.adjustment])

/** What becomes of entries that PostgreSQL would not take at first: each alone, so that a bad one fails none of its neighbours. */
export function createRefusals(options: {
  db: Db
  engine: Engine
  mark: Mark
  put: Put
  on_alarm: (message: string) => void
  on_past?: (() => void) | undefined
}) {
  const { db, engine, mark, on_alarm, on_past } = options
  const { put, putInstead } = options.put

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
      await put([entry])
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
    options.put.undo(entry)
    on_alarm(why)
    engine.fence.close(entry.shard, why, 'wrong')
  }

  /** Writes all that the journal of an entry's shard has to make room with. What is refused for its data is left to those who finish the journal. */
  async function makeRoom({ shard, epoch }: Entry, isRoom: typeof givesBack): Promise<void> {
    for await (const page of engine.journal.pages(shard)) {
      const giving = page.filter(isRoom).map((entry) => ({ ...entry, epoch }))
      if (giving.length === 0) continue
      try {
        await put(giving)
      } catch (error) {
        if (!isOwnFault(error)) throw error
        for (const one of giving) {
          await put([one]).catch((refused: Error) => {
            if (!isOwnFault(refused)) throw refused
          })
        }
      }
    }
  }

  /** Whether room for an entry was made by one that PostgreSQL would not take, and that waits for an operator. */
  async function isRoomSetAside(entry: Entry, isRoom: typeof givesBack): Promise<boolean> {
    const ids = new Set(productsOf(entry))
    const buried = await engine.journal.buriedEntries(entry.shard, MAX_BURIED)
    return buried.some(({ entry: other }) => isRoom(other) && productsOf(other).some((id) => ids.has(id)))
  }

  /** Whether Redis still has an entry, and with it all that came before it; one that was set aside is in no journal. */
  async function isKept(entry: Entry): Promise<boolean> {
    if (entry.entry_id === '') return true
    const kept = await engine.journal.readEntry(entry.shard, entry.entry_id)
    return kept !== undefined && isSameEntry(kept, entry)
  }

  /** Whether PostgreSQL lacks commits that this process or Redis knows of: then the floor does not know what it says. */
  async function isPast(shard: number): Promise<boolean> {
    const recall = () => engine.remembered.marks(shard)
    return (await db.use((sql) => findAhead(sql, [mark], recall))).length > 0
  }

  /**
   * What the floor would not take, or the bounds of what can be counted. Units are free in Redis before PostgreSQL has what freed them, so its first word is no verdict: it is
   * one once everything that the journal has to make room with is written, nothing has come to the journal meanwhile, and nothing was
   * lost of it: a Redis that was emptied has nothing to make room with either. While the shard goes on there may always be more; then
   * the shard closes, and the rebuild looks again while nobody can change it. Where what made room was set aside, so is this.
   */
  async function commitRefused(entry: Entry, refusal: unknown): Promise<Committed | Error> {
    const { shard, order, adjustment } = entry
    const isRoom = roomFor(refusal)
    for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
      const last_id = await engine.journal.lastId(shard)
      await makeRoom(entry, isRoom)
      try {
        await put([entry])
        return 'committed'
      } catch (error) {
        if (error instanceof LateError) return commitLate(entry, error)
        if (!isFloor(error) && !isTooMuch(error)) throw error
      }
      if ((await engine.journal.lastId(shard)) !== last_id || !(await isKept(entry))) continue
      if (await isRoomSetAside(entry, isRoom)) return refusal as Error
      if (await isPast(shard)) {
        on_past?.()
        return new UnavailableError('recovering', 'PostgreSQL lacks what it had')
      }
      if (order) await putInstead(entry, makeEntry(entry, { payments: entry.payments.map(refundDue) }))
      const what = order
        ? `order ${order.id}`
        : `a change of product ${adjustment?.product_id} by ${adjustment?.delta}`
      const why = isTooMuch(refusal)
        ? 'it is worth more than can be counted'
        : 'its product is oversold in Redis'
      undo(entry, `PostgreSQL refused ${what}: ${why}`)
      return 'refused'
    }
    engine.fence.close(shard, 'PostgreSQL refuses an order', 'wrong')
    return new UnavailableError('recovering', 'PostgreSQL has not heard yet of what made room for it')
  }

  async function commitOne(entry: Entry): Promise<Committed | Error> {
    try {
      await put([entry])
      return 'committed'
    } catch (error) {
      if (error instanceof LateError) return commitLate(entry, error)
      if (error instanceof KeyTakenError) {
        undo(entry, error.message)
        return 'key_taken'
      }
      if (error instanceof OtherHistoryError) {
        undo(entry, error.message)
        return new UnavailableError('recovering', error.message)
      }
      if (error instanceof EarlyError) return commitEarly(entry)
      const may_have_room = isFloor(error) || (isTooMuch(error) && entry.adjustment !== null)
      return may_have_room ? commitRefused(entry, error) : (error as Error)
    }
  }

  return {
    commitOne,

    /** Writes a batch that the floor has refused once more, when all that makes room is written. Returns whether it was taken. */
    async commitAgain(entries: Entry[]): Promise<boolean> {
      try {
        const by_shard = new Map(entries.map((entry) => [entry.shard, entry]))
        for (const entry of by_shard.values()) await makeRoom(entry, givesBack)
        await put(entries)
        return true
      } catch (error) {
        if (!isOwnFault(error)) throw error
        return false
      }
    },
  }
}
