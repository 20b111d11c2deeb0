import { recordAdjustments } from '../db/adjustments.ts'
import { type Db, isOwnFault, type Sql } from '../db/client.ts'
import { findOrders, type PlacedOrder, upsertOrders } from '../db/orders.ts'
import { KeyTakenError, type PlacedPayment, upsertPayments } from '../db/payments.ts'
import { lockProducts } from '../db/products.ts'
import { lockEpochs } from '../db/shards.ts'
import type { Engine } from '../engine/engine.ts'
import type { Entry, Payment } from '../engine/records.ts'
import { UnavailableError } from '../errors.ts'
import { gather } from '../gather.ts'

/** Rows a transaction writes at most; past some hundred a larger one saves nothing more. */
const MAX_BATCH = 256
/** One transaction at a time: what comes meanwhile gathers for the next one (group commit). */
const MAX_IN_FLIGHT = 1
const MAX_WAITING = 20_000
/** How long a caller waits for its commit. The entry stays in the journal, so it is finished later all the same. */
const MAX_WAIT_MS = 1_500

/** Tries after which an entry that PostgreSQL refuses for its data is set aside. */
const MAX_TRIES = 5

/**
 * `refused`: PostgreSQL's floor would not take the order, or its checks the added units, so they were undone. `key_taken`: the
 * payment's key belongs to an order in another shard, so that what it did was undone.
 */
export type Committed = 'committed' | 'refused' | 'key_taken'
export type Writer = ReturnType<typeof createWriter>

/** An entry's shard was rebuilt since: Redis may have lost the entry, and what it changed counts nowhere. */
class LateError extends Error {
  /** Of the class of errors that blame the data. */
  readonly code = 'P0001'
  readonly epoch: number
  constructor(epoch: number) {
    super('the shard was rebuilt before this was written')
    this.epoch = epoch
  }
}

async function refuseLate(sql: Sql, entries: Entry[]): Promise<void> {
  const epochs = await lockEpochs(sql, [...new Set(entries.map(({ shard }) => shard))])
  for (const { shard, epoch } of entries) {
    const known = epochs.get(shard)
    if (epoch !== undefined && known !== undefined && known > epoch) throw new LateError(known)
  }
}

/** Of several versions of one order in a batch only the latest is written: one statement can not change a row twice. */
function latestOrders(entries: Entry[]): PlacedOrder[] {
  const latest = new Map<string, PlacedOrder>()
  for (const { shard, order } of entries) {
    if (order && order.version > (latest.get(order.id)?.order.version ?? 0)) {
      latest.set(order.id, { shard, order })
    }
  }
  return [...latest.values()]
}

/** Of a payment that was parked and settled within one batch only the settled row is written. */
function latestPayments(entries: Entry[]): PlacedPayment[] {
  const latest = new Map<string, PlacedPayment>()
  for (const { shard, payments } of entries) {
    for (const payment of payments) {
      const known = latest.get(payment.idempotency_key)?.payment
      if (known && known.order_id !== payment.order_id) throw new KeyTakenError(payment.idempotency_key)
      if (!known || known.outcome === 'parked') latest.set(payment.idempotency_key, { shard, payment })
    }
  }
  return [...latest.values()]
}

/**
 * Waits for statements that were sent together. Throws what the first of them to fail says; those behind it say only that
 * their transaction is over, and may be heard sooner.
 */
async function inOrder(statements: Array<Promise<unknown>>): Promise<void> {
  const failed = (await Promise.allSettled(statements)).find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}

async function write(sql: Sql, entries: Entry[]): Promise<void> {
  const adjustments = entries.flatMap(({ adjustment }) => adjustment ?? [])
  const orders = latestOrders(entries)
  const payments = latestPayments(entries)
  const changed = [...adjustments, ...orders.flatMap(({ order }) => order.items)].map(
    ({ product_id }) => product_id,
  )
  const added = adjustments.filter(({ delta }) => delta > 0)
  const taken_out = adjustments.filter(({ delta }) => delta <= 0)
  // Sent together, taken in this order: what was added may be what the orders need, what was taken out what they gave back.
  await inOrder([
    lockProducts(sql, [...new Set(changed)]),
    recordAdjustments(sql, added),
    upsertOrders(sql, orders),
    recordAdjustments(sql, taken_out),
    upsertPayments(sql, payments),
  ])
}

const isFloor = (error: unknown) => (error as { constraint?: string }).constraint === 'products_floor'
/** The product would be worth more than can be counted: its price was raised while units were added. */
const isTooMuch = (error: unknown) =>
  ['products_amount', 'products_total'].includes((error as { constraint?: string }).constraint ?? '')

/** Money that came for an order which the floor refused has to go back, and its sender is told so first. */
function refundDue(payment: Payment): Payment {
  if (payment.status !== 'success') return payment
  const first_outcome = payment.first_outcome === 'applied' ? 'refund_due' : payment.first_outcome
  return { ...payment, outcome: 'refund_due', first_outcome, reason: 'no_units_left' }
}

/**
 * The writer: brings journal entries into PostgreSQL, all that gathered in one transaction, and drops them from the
 * journal afterwards. Entries may come twice and in any order.
 */
export function createWriter(options: {
  db: Db
  engine: Engine
  on_alarm: (message: string) => void
  /** Hears of entries that PostgreSQL has now. */
  on_commit?: (entries: Entry[]) => void
}) {
  const { db, engine, on_alarm, on_commit } = options
  let dropping: Promise<unknown> = Promise.resolve()
  const tries_by_entry = new Map<string, number>()

  /** Counts a refusal for the entry's data, and sets the entry aside when there were too many. */
  async function noteRefusal({ shard, entry_id }: Entry, error: Error): Promise<void> {
    const name = `${shard}:${entry_id}`
    const tries = (tries_by_entry.get(name) ?? 0) + 1
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
    const ids_by_shard = new Map<number, string[]>()
    for (const { shard, entry_id } of entries) {
      ids_by_shard.set(shard, [...(ids_by_shard.get(shard) ?? []), entry_id])
    }
    const drops = [...ids_by_shard].map(([shard, ids]) => engine.journal.dropEntries(shard, ids))
    dropping = Promise.allSettled([dropping, ...drops])
  }

  const writeBatch = async (entries: Entry[]) => {
    await db.transaction((sql) => inOrder([refuseLate(sql, entries), write(sql, entries)]))
    on_commit?.(entries)
  }

  /** A late entry that is still in the journal counts all the same; one that is gone was written already, or is lost. */
  async function commitLate(entry: Entry, late: LateError): Promise<Committed | Error> {
    const is_kept = (await engine.journal.readEntry(entry.shard, entry.entry_id, late.epoch)) !== undefined
    if (is_kept) return commitOne({ ...entry, epoch: late.epoch })
    const { order } = entry
    const [known] = order ? await db.use((sql) => findOrders(sql, [order.id])) : []
    const is_written = order && known && known.version >= order.version
    return is_written ? 'committed' : new UnavailableError('recovering', late.message)
  }

  /** What PostgreSQL will never take is taken out of Redis again, by a rebuild. */
  function undo(entry: Entry, why: string): void {
    drop([entry])
    on_alarm(why)
    engine.fence.close(entry.shard, why, 'wrong')
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
      if (!isFloor(error) || !entry.order) return error as Error
      const payments = entry.payments.map(refundDue)
      await db.transaction((sql) => write(sql, [{ ...entry, order: null, payments }]))
      drop([entry])
      on_alarm(`PostgreSQL refused order ${entry.order.id}: its product is oversold in Redis`)
      engine.fence.close(entry.shard, 'PostgreSQL refused an order', 'wrong')
      return 'refused'
    }
  }

  async function commitBatch(entries: Entry[]): Promise<Array<Committed | Error>> {
    try {
      await writeBatch(entries)
      drop(entries)
      return entries.map(() => 'committed')
    } catch (error) {
      if (!isOwnFault(error)) throw error
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

    /** Waits until all that was added is written and dropped. */
    async drained(): Promise<void> {
      await gathered.drained()
      await dropping
    },
  }
}
