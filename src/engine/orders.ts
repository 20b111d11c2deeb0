import type { Redis } from 'ioredis'
import type { Fence } from './fence.ts'
import { type HoldGone, IDEM_TTL_MS, type Idem } from './holds.ts'
import { shardOfId } from './ids.ts'
import type { Keys } from './keys.ts'
import {
  type Entry,
  formatOrder,
  makeEntry,
  type Order,
  type Payment,
  parseOrder,
  parsePayments,
} from './records.ts'
import { ask } from './redis.ts'
import type { Run } from './run.ts'

/** Orders looked at in one sweep of a shard; each costs some 10 µs of Redis. */
const MAX_DUE_ORDERS = 100

/** What an order keeps of the keyed request that made it. */
export const markOf = (idem: Idem) => `${idem.key}|${idem.fingerprint}`

/** The id of the order that a member of `deadlines` names, beside the products whose units it has. */
export const idOfDeadline = (member: string): string => member.slice(0, member.indexOf('|'))

export type CreateOrder =
  | { status: 'created'; order: Order; entry: Entry }
  /** `entry_id` is that of the first answer's journal entry while PostgreSQL may not have it, else ''. */
  | { status: 'replayed'; order: Order; entry_id: string }
  | { status: 'key_reused' | 'already_used' | HoldGone }

export type CancelOrder =
  | { status: 'cancelled'; order: Order; entry: Entry }
  | { status: 'unknown_order' | 'not_pending' }

/** Orders: each transition is one step that also journals, for PostgreSQL to have it before anyone is told. */
export function createOrders(options: {
  redis: Redis
  run: Run
  keys: Keys
  fence: Fence
  order_ttl_ms: number
}) {
  const { redis, run, keys, fence, order_ttl_ms } = options
  return {
    /** Makes the order of a live hold, once, and applies the payments that came before it. */
    async createOrder(id: string, idem: Idem | null): Promise<CreateOrder> {
      const shard = shardOfId(id)
      const epoch = fence.epoch(shard)
      const reply = await run('create-order', shard, {
        args: {
          id,
          pay_ttl_ms: order_ttl_ms,
          fingerprint: idem?.fingerprint ?? '',
          idem_ttl_ms: IDEM_TTL_MS,
          mark: idem ? markOf(idem) : '',
        },
        id,
        keys: idem ? [keys.idem(shard, idem.scope, idem.key)] : [],
      })
      switch (reply[0]) {
        case 'created': {
          const order = parseOrder(reply[2])
          const payments = parsePayments(reply[3])
          const entry = makeEntry({ shard, entry_id: reply[1], epoch }, { order, payments })
          return { status: 'created', order, entry }
        }
        case 'replayed':
          return { status: 'replayed', order: parseOrder(reply[2]), entry_id: reply[1] }
        default:
          return { status: reply[0] }
      }
    },

    /** Cancels an unpaid order on request; its units are free at once. */
    async cancelOrder(id: string): Promise<CancelOrder> {
      const shard = shardOfId(id)
      const epoch = fence.epoch(shard)
      const reply = await run('cancel-order', shard, { args: { id }, id })
      if (reply[0] !== 'cancelled') return { status: reply[0] }
      const order = parseOrder(reply[2])
      const entry = makeEntry({ shard, entry_id: reply[1], epoch }, { order })
      return { status: 'cancelled', order, entry }
    },

    /** The order as Redis has it, or undefined where Redis has forgotten or never knew it. */
    async readOrder(id: string): Promise<Order | undefined> {
      const reply = await run('read-order', shardOfId(id), { args: { id }, id })
      return reply[0] === 'found' ? parseOrder(reply[1]) : undefined
    },

    /** Cancels orders that are unpaid at their `pay_by`, a bounded number of them. Closes a shard that has lost any. */
    async expireOrders(shard: number): Promise<Entry[]> {
      const members = await ask(
        'deadlines',
        redis.zrange(keys.shard(shard, 'deadlines'), '0', `${MAX_DUE_ORDERS - 1}`),
      )
      const ids = members.map(idOfDeadline)
      if (ids.length === 0) return []
      const order_keys = ids.map((id) => keys.id(shard, 'order', id))
      const epoch = fence.epoch(shard)
      const [, lost, ...expired] = await run('expire-orders', shard, {
        args: {},
        keys: order_keys,
        rest: ids,
      })
      if (lost > 0) fence.close(shard, `Redis has lost ${lost} unpaid orders`, 'wrong')
      return expired.map(([entry_id, order]) =>
        makeEntry({ shard, entry_id, epoch }, { order: parseOrder(order) }),
      )
    },

    /** Brings back an order that Redis has forgotten, with the payments it has seen. No units move. */
    async loadOrder(shard: number, order: Order, payments: Payment[]): Promise<void> {
      const fields = Object.entries(formatOrder(order)).flat()
      const seen = payments.flatMap((payment) => {
        const { status, amount, currency, first_outcome, transaction_id } = payment
        const record = [status, amount ?? '', currency ?? '', first_outcome, ''].join('|')
        const by_key = [`payment:${payment.idempotency_key}`, record]
        return transaction_id ? [...by_key, `transaction:${status}:${transaction_id}`, record] : by_key
      })
      await run('load-order', shard, {
        args: { id: order.id },
        id: order.id,
        rest: [...fields, ...seen],
      })
    },
  }
}
