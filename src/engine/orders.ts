import { gather } from '../gather.ts'
import type { Observer } from '../metrics/observer.ts'
import type { CreateReply } from './commands.ts'
import type { Fence } from './fence.ts'
import { type HoldGone, IDEM_TTL_MS, type Idem, isUnknown } from './holds.ts'
import type { IdKey, Keys } from './keys.ts'
import type { Places } from './places.ts'
import {
  type Entry,
  formatOrder,
  formatSeen,
  makeEntry,
  type Order,
  type Payment,
  parseOrder,
  parsePayments,
} from './records.ts'
import { eachForItself, type Run } from './run.ts'

/** A create-orders call of this size takes Redis some two milliseconds. */
const MAX_BATCH = 64
const MAX_IN_FLIGHT = 1
const MAX_WAITING = 5_000
/** HTTP has answered by then: nobody waits for what waited longer. */
const MAX_WAIT_MS = 2_500
/** Of each order that is to be created, in the order of the script's keys. */
const CREATE_KEYS: IdKey[] = ['order', 'released', 'parked_payments']

/** What an order keeps of the keyed request that made it. Neither part contains what divides them, or the fields of a record. */
export const markOf = (idem: Idem) => `${idem.fingerprint}.${encodeURIComponent(idem.key)}`

/** The id of the order that a member of `deadlines` names, beside the products whose units it has. */
export const idOfDeadline = (member: string): string => member.slice(0, member.indexOf('|'))

export type CreateOrder =
  | { status: 'created'; order: Order; entry: Entry }
  /** `entry_id` is that of the first answer's journal entry in this shard while PostgreSQL may not have it, else ''. */
  | { status: 'replayed'; order: Order; shard: number; entry_id: string }
  /** An order was made under this key before a rebuild: whether it still counts, PostgreSQL knows. */
  | { status: 'earlier'; order: Order; shard: number }
  | { status: 'key_reused' | 'already_used' | HoldGone }

export type CancelOrder =
  | { status: 'cancelled'; order: Order; entry: Entry }
  | { status: 'unknown_order' | 'not_pending' }

type Request = { id: string; idem: Idem | null; absent: string }

function answerCreate(reply: CreateReply, shard: number, epoch: number): CreateOrder | undefined {
  switch (reply[0]) {
    case 'again':
      return undefined
    case 'created': {
      const [, entry_id, record, payments_json] = reply
      const order = parseOrder(record)
      const entry = makeEntry({ shard, entry_id, epoch }, { order, payments: parsePayments(payments_json) })
      return { status: 'created', order, entry }
    }
    case 'replayed':
      return { status: 'replayed', order: parseOrder(reply[2]), shard, entry_id: reply[1] }
    case 'earlier':
      return { status: 'earlier', order: parseOrder(reply[1]), shard }
    default:
      return { status: reply[0] }
  }
}

/** Orders: each transition is one step that also journals, for PostgreSQL to have it before anyone is told. */
export function createOrders(options: {
  run: Run
  keys: Keys
  fence: Fence
  places: Places
  shards: number
  order_ttl_ms: number
  observer?: Observer | undefined
}) {
  const { run, keys, fence, places, shards, order_ttl_ms, observer } = options

  /** The answers, undefined where another request of the batch has to be answered first. */
  async function createBatch(shard: number, requests: Request[]): Promise<Array<CreateOrder | undefined>> {
    const id_keys = CREATE_KEYS.flatMap((key) => requests.map(({ id }) => keys.id(shard, key, id)))
    const idem_keys: string[] = []
    const rest = requests.map(({ id, idem, absent }) => {
      if (!idem) return `${id}|0||`
      idem_keys.push(keys.idem(shard, idem.scope, idem.key))
      return `${id}|${idem_keys.length}|${absent}|${markOf(idem)}`
    })
    const args = { pay_ttl_ms: order_ttl_ms, idem_ttl_ms: IDEM_TTL_MS }
    const epoch = fence.epoch(shard)
    const [, ...replies] = await run('create-orders', shard, { args, keys: [...id_keys, ...idem_keys], rest })
    return replies.map((reply) => answerCreate(reply, shard, epoch))
  }

  const createEach = (shard: number, requests: Request[]) =>
    eachForItself((some: Request[]) => createBatch(shard, some))(requests)

  const gathers = Array.from({ length: shards }, (_, shard) =>
    gather<Request, CreateOrder | undefined>({
      on_batch: observer && ((requests) => observer.gathered('orders', requests)),
      run: (requests) => createEach(shard, requests),
      max_batch: MAX_BATCH,
      max_in_flight: MAX_IN_FLIGHT,
      max_waiting: MAX_WAITING,
      max_wait_ms: MAX_WAIT_MS,
    }),
  )

  async function createIn(shard: number, request: Request): Promise<CreateOrder> {
    const gathered = gathers[shard]
    if (!gathered) return { status: 'not_found' }
    for (;;) {
      const answer = await gathered.add(request)
      if (answer) return answer
    }
  }

  async function cancelIn(shard: number, id: string): Promise<CancelOrder> {
    const epoch = fence.epoch(shard)
    const reply = await run('cancel-order', shard, { args: { id }, id })
    if (reply[0] !== 'cancelled') return { status: reply[0] }
    const order = parseOrder(reply[2])
    const entry = makeEntry({ shard, entry_id: reply[1], epoch }, { order })
    return { status: 'cancelled', order, entry }
  }

  async function readIn(shard: number, id: string): Promise<Order | undefined> {
    const reply = await run('read-order', shard, { args: { id }, id })
    return reply[0] === 'found' ? parseOrder(reply[1]) : undefined
  }

  return {
    /**
     * Makes the order of a live hold, once, and applies the payments that came before it.
     * @param absent the id of an order that an earlier call answered with, and that PostgreSQL does not have
     */
    createOrder: (id: string, idem: Idem | null, absent = ''): Promise<CreateOrder> =>
      places.find(id, (shard) => createIn(shard, { id, idem, absent }), isUnknown),

    /** Cancels an unpaid order on request; its units are free at once. */
    cancelOrder: (id: string): Promise<CancelOrder> =>
      places.find(
        id,
        (shard) => cancelIn(shard, id),
        ({ status }) => status === 'unknown_order',
      ),

    /** The order as Redis has it, or undefined where Redis has forgotten or never knew it. */
    readOrder: (id: string): Promise<Order | undefined> =>
      places.find(
        id,
        (shard) => readIn(shard, id),
        (order) => order === undefined,
      ),

    /** Makes orders of holds that stand in this shard, in one step; each is answered for itself. */
    createOrders: (shard: number, ids: string[]): Promise<Array<CreateOrder | undefined | Error>> =>
      createEach(
        shard,
        ids.map((id) => ({ id, idem: null, absent: '' })),
      ),

    /**
     * Brings back an order that Redis does not have in this epoch, with the payments it has seen. No units move. `epoch` is that in which
     * PostgreSQL was asked for it, where that was not just now: a later one has another truth.
     */
    async loadOrder(shard: number, order: Order, payments: Payment[], epoch?: number): Promise<void> {
      const fields = ['order', formatOrder(order)]
      const seen = payments.flatMap((payment) => {
        const { status, transaction_id } = payment
        const record = formatSeen(payment)
        const by_key = [`payment:${payment.idempotency_key}`, record]
        return transaction_id ? [...by_key, `transaction:${status}:${transaction_id}`, record] : by_key
      })
      await run('load-order', shard, {
        args: { id: order.id },
        id: order.id,
        rest: [...fields, ...seen],
        epoch,
      })
    },
  }
}
