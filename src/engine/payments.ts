import type { Fence } from './fence.ts'
import { IDEM_TTL_MS } from './holds.ts'
import { shardOfId } from './ids.ts'
import type { Keys } from './keys.ts'
import type { Places } from './places.ts'
import {
  type Entry,
  makeEntry,
  type Order,
  type Payment,
  type PaymentOutcome,
  parseOrder,
  parsePayments,
  type RefundReason,
} from './records.ts'
import type { Run } from './run.ts'

/** Each try takes 125 dead holds back. */
const MAX_BACKLOG_TRIES = 3_200
/** A parked payment whose hold nobody knows waits for three of the longest hold TTLs and this. */
const PARK_SLACK_MS = 10_000
const PARK_TTLS = 3

/** A payment as its sender states it. */
export type PaymentNotice = Pick<
  Payment,
  'idempotency_key' | 'order_id' | 'status' | 'amount' | 'currency' | 'payment_method' | 'transaction_id'
> & {
  /** Whether the sender announces one transaction by several notices, of which only the first counts. */
  is_once?: boolean
}

export type ApplyPayment =
  | { status: PaymentOutcome; reason: RefundReason | null; order: Order | null; entry: Entry }
  /** `entry_id` is that of the first delivery's journal entry in this shard while PostgreSQL may not have it, else ''. */
  | {
      status: 'duplicate'
      first_outcome: PaymentOutcome
      order: Order | null
      shard: number
      entry_id: string
    }
  | { status: 'key_reused' | 'unknown_order' }

/** The entry of payments; only such as were applied have changed their order. */
function paidEntry(
  from: Pick<Entry, 'shard' | 'entry_id' | 'epoch'>,
  order: Order | null,
  payments: Payment[],
): Entry {
  const is_changed = payments.some(({ outcome }) => outcome === 'applied')
  return makeEntry(from, { ...(is_changed ? { order } : { basis: order }), payments })
}

/** Payments: each has one effect, however often and in whatever order it is delivered. */
export function createPayments(options: {
  run: Run
  keys: Keys
  fence: Fence
  places: Places
  longestHoldTtlMs: () => number
}) {
  const { run, keys, fence, places, longestHoldTtlMs } = options
  const parkTtlMs = () => PARK_TTLS * longestHoldTtlMs() + PARK_SLACK_MS

  async function applyIn(shard: number, notice: PaymentNotice, may_park: boolean): Promise<ApplyPayment> {
    const id = notice.order_id
    const call = {
      args: {
        id,
        may_park: may_park ? 1 : 0,
        park_ttl_ms: parkTtlMs(),
        key_ttl_ms: IDEM_TTL_MS,
        key: notice.idempotency_key,
        payment_status: notice.status,
        amount: notice.amount ?? '',
        currency: notice.currency ?? '',
        method: notice.payment_method ?? '',
        transaction: notice.transaction_id ?? '',
        is_once: notice.is_once ? 1 : 0,
      },
      id,
      keys: [keys.payment(shard, notice.idempotency_key)],
    }
    for (let tries = 0; tries < MAX_BACKLOG_TRIES; tries += 1) {
      const epoch = fence.epoch(shard)
      const reply = await run('apply-payment', shard, call)
      switch (reply[0]) {
        case 'backlog':
          continue
        case 'key_reused':
        case 'unknown_order':
          return { status: reply[0] }
        case 'duplicate':
          return {
            status: 'duplicate',
            first_outcome: reply[1] as PaymentOutcome,
            order: reply[3] === '' ? null : parseOrder(reply[3]),
            shard,
            entry_id: reply[2],
          }
        default: {
          const order = reply[2] === '' ? null : parseOrder(reply[2])
          const payments = parsePayments(reply[3])
          const entry = paidEntry({ shard, entry_id: reply[1], epoch }, order, payments)
          return { status: reply[0], reason: payments[0]?.reason ?? null, order, entry }
        }
      }
    }
    throw new Error('dead holds do not come to an end')
  }

  return {
    /**
     * Applies a payment to its order, or parks it until the order comes. `unknown_order` asks the caller to look into
     * PostgreSQL: load the order from there, or call again with `may_park` where PostgreSQL does not know it either.
     */
    applyPayment: (notice: PaymentNotice, may_park: boolean): Promise<ApplyPayment> =>
      places.find(
        notice.order_id,
        // Whatever else is away, there is one shard in which a payment without an order is parked.
        (shard) => applyIn(shard, notice, may_park && shard === shardOfId(notice.order_id)),
        ({ status }) => status === 'unknown_order',
      ),

    /**
     * Settles the parked payments of an order that is there, and gives up on those of one that can never come; undefined where they are
     * not due.
     */
    async settleParkedOf(shard: number, id: string): Promise<Entry | undefined> {
      const epoch = fence.epoch(shard)
      const reply = await run('settle-parked', shard, { args: { id, park_ttl_ms: parkTtlMs() }, id })
      switch (reply[0]) {
        case 'settled':
          return paidEntry(
            { shard, entry_id: reply[1], epoch },
            parseOrder(reply[2]),
            parsePayments(reply[3]),
          )
        case 'given_up':
          return makeEntry({ shard, entry_id: reply[1], epoch }, { payments: parsePayments(reply[2]) })
        default:
          return undefined
      }
    },

    /** Brings back a parked payment that Redis does not have in this epoch. `seq` keeps the order of arrival. */
    async loadParked(shard: number, payment: Payment, seq: number): Promise<void> {
      const id = payment.order_id
      const epoch = fence.epoch(shard)
      const record = {
        key: payment.idempotency_key,
        status: payment.status,
        amount: payment.amount === null ? '' : String(payment.amount),
        currency: payment.currency ?? '',
        method: payment.payment_method ?? '',
        transaction: payment.transaction_id ?? '',
        created_at_ms: String(payment.created_at_ms),
        seq: String(seq),
        epoch: String(epoch),
        entry: '',
      }
      await run('load-parked', shard, {
        args: {
          id,
          key: payment.idempotency_key,
          payment: JSON.stringify(record),
          deadline_ms: payment.created_at_ms + parkTtlMs(),
        },
        id,
      })
    },
  }
}
