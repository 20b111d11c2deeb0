import type { Static } from '@sinclair/typebox'
import { findPayments, isSamePayment, paymentsOfOrders } from '../db/payments.ts'
import type { ApplyPayment, PaymentNotice } from '../engine/payments.ts'
import type { Payment } from '../engine/records.ts'
import { UnavailableError } from '../errors.ts'
import { gather } from '../gather.ts'
import type { Deps } from './deps.ts'
import { presentOrder } from './present.ts'
import type { PaymentResult } from './schemas/payments.ts'

const MAX_BATCH = 256
const MAX_WAITING = 10_000

/** `foreign`: the order is unknown here, and its id is none of this installation. */
export type Receive = (
  notice: PaymentNotice,
) => Promise<Static<typeof PaymentResult> | 'key_reused' | 'foreign'>
type Result = Static<typeof PaymentResult>

/**
 * What both doors for payments do with a notice whose sender is known: look whether PostgreSQL has it already, apply or
 * park it, and answer after the commit.
 */
export function createReceive({ engine, writer, lookup, db, meters }: Omit<Deps, 'config'>): Receive {
  const known_payments = gather<string, Payment | undefined>({
    run: async (keys) => {
      const found = await db.use((sql) => findPayments(sql, keys))
      const by_key = new Map(found.map((payment) => [payment.idempotency_key, payment]))
      return keys.map((key) => by_key.get(key))
    },
    max_batch: MAX_BATCH,
    max_in_flight: 1,
    max_waiting: MAX_WAITING,
    on_batch: (notices) => meters?.gathered('payments', notices),
  })

  const payments_of_orders = gather<string, Payment[]>({
    run: async (order_ids) => {
      const found = await db.use((sql) => paymentsOfOrders(sql, order_ids))
      return order_ids.map((id) => found.filter(({ order_id }) => order_id === id))
    },
    max_batch: MAX_BATCH,
    max_in_flight: 1,
    max_waiting: MAX_WAITING,
  })

  /** What PostgreSQL knows of a transaction that another notice may have announced: it counts though its order never came. */
  async function findTwin(notice: PaymentNotice): Promise<Payment | undefined> {
    const { order_id, status, transaction_id } = notice
    if (!notice.is_once || transaction_id === null) return undefined
    const payments = await payments_of_orders.add(order_id)
    return payments.find((one) => one.status === status && one.transaction_id === transaction_id)
  }

  /**
   * Applies a payment; an order that Redis has forgotten is loaded first, one that nobody knows parks the payment, unless the id
   * is of another installation, or of one that can not be told.
   */
  async function apply(notice: PaymentNotice): Promise<ApplyPayment | { status: 'foreign' }> {
    const result = await engine
      .applyPayment(notice, false)
      .catch((error) => lookup.unknownIfMoved(notice.order_id, error))
    if (result.status !== 'unknown_order') return result
    const is_loaded = await lookup.loadOrder(notice.order_id)
    if (!is_loaded && !engine.isOwnId(notice.order_id)) return { status: 'foreign' }
    return engine.applyPayment(notice, !is_loaded)
  }

  /** A payment that was committed before, perhaps long ago. */
  async function answerKnown(known: Payment, notice: PaymentNotice): Promise<Result> {
    const order = await lookup.readOrder(notice.order_id)
    return {
      outcome: 'duplicate',
      first_outcome: known.first_outcome,
      order: order ? presentOrder(order) : null,
    }
  }

  return async (notice) => {
    const known = await known_payments.add(notice.idempotency_key)
    if (known) return isSamePayment(known, notice) ? answerKnown(known, notice) : 'key_reused'
    const twin = await findTwin(notice)
    if (twin) return answerKnown(twin, notice)
    const result = await apply(notice)
    switch (result.status) {
      case 'key_reused':
      case 'foreign':
        return result.status
      case 'unknown_order':
        // It was loaded a moment ago; only a Redis that has just lost it again can say so.
        throw new UnavailableError('unavailable', 'the order was lost while it was paid')
      case 'duplicate': {
        await writer.finish(result.shard, result.entry_id)
        // Its entry may have been set aside.
        if (!(await known_payments.add(notice.idempotency_key)) && !(await findTwin(notice))) {
          throw new UnavailableError('unavailable', 'the payment is not written')
        }
        const order = result.order && presentOrder(result.order)
        return { outcome: 'duplicate', first_outcome: result.first_outcome, order }
      }
      default: {
        const committed = await writer.commit(result.entry)
        if (committed === 'key_taken') return 'key_reused'
        if (committed === 'refused') {
          return { outcome: 'refund_due', reason: 'no_units_left', order: null }
        }
        const order = result.order && presentOrder(result.order)
        const { reason } = result
        return { outcome: result.status, ...(reason ? { reason } : {}), order }
      }
    }
  }
}
