import type { ExpireReply } from './commands.ts'
import { createDue, type DueSet } from './due.ts'
import type { Fence } from './fence.ts'
import type { Keys } from './keys.ts'
import type { Nodes } from './nodes.ts'
import { type CreateOrder, idOfDeadline } from './orders.ts'
import { type Entry, makeEntry, parseOrder } from './records.ts'
import { ask } from './redis.ts'
import { eachForItself, isBroken, type Run } from './run.ts'

/** Holds taken back in one step of Redis, orders cancelled in one, orders made in one: a buyer waits for half a millisecond of it. */
const MAX_DEAD_HOLDS = 125
export const MAX_DUE_ORDERS = 12
export const MAX_PREPAID = 6
/** Orders whose parked payments are settled, or given up, at once, each in a step of its own. */
export const MAX_PARKED = 50

/** What a sweeper does to a shard, a bounded number of things in each call. Any number of sweepers may do so at once. */
export function createSweeping(options: {
  nodes: Nodes
  run: Run
  keys: Keys
  fence: Fence
  createOrders: (shard: number, ids: string[]) => Promise<Array<CreateOrder | undefined | Error>>
  settleParkedOf: (shard: number, id: string) => Promise<Entry | undefined>
}) {
  const { nodes, run, keys, fence, createOrders, settleParkedOf } = options
  const due = createDue({ run, fence })

  /** Deals with what is due in a set; what can not be, because its record is broken, holds up nothing else. */
  async function sweep<Answer>(
    shard: number,
    set: DueSet,
    limit: number,
    act: (members: string[]) => Promise<Array<Answer | Error>>,
  ): Promise<Array<{ member: string; answer: Answer }>> {
    const epoch = fence.epoch(shard)
    const members = await due.read(shard, set, limit)
    if (members.length === 0) return []
    const answers = await act(members)
    const done: Array<{ member: string; answer: Answer }> = []
    const failed: Array<{ member: string; error: Error }> = []
    for (const [at, member] of members.entries()) {
      const answer = answers[at] as Answer | Error
      if (answer instanceof Error) failed.push({ member, error: answer })
      else done.push({ member, answer })
    }
    const broken = failed.filter(({ error }) => isBroken(error)).map(({ member }) => member)
    due.passOver(shard, set, broken, epoch)
    // What was done has to be written, whatever failed beside it.
    const other = failed.find(({ error }) => !isBroken(error))
    if (other && done.length === 0) throw other.error
    return done
  }

  async function expireBatch(shard: number, members: string[]): Promise<ExpireReply[]> {
    const order_keys = members.map((member) => keys.id(shard, 'order', idOfDeadline(member)))
    const [, ...replies] = await run('expire-orders', shard, { args: {}, keys: order_keys, rest: members })
    return replies
  }

  /** Those of some members that a set still has. */
  async function stillIn(shard: number, set: DueSet, members: string[]): Promise<string[]> {
    if (members.length === 0) return []
    const scores = await ask(set, nodes.of(shard).zmscore(keys.shard(shard, set), ...members))
    return members.filter((_, at) => scores[at] !== null)
  }

  return {
    /** Gives back the units of dead holds. */
    async expireHolds(shard: number): Promise<{ count: number; late_ms: number; are_more: boolean }> {
      const epoch = fence.epoch(shard)
      const call = { args: { limit: MAX_DEAD_HOLDS } }
      const [, count, late_ms, stuck] = await run('expire-holds', shard, call)
      due.passOver(shard, 'holds', stuck, epoch)
      return { count, late_ms, are_more: count > 0 && count + stuck.length === MAX_DEAD_HOLDS }
    },

    /** Makes the orders of holds that were paid for, at their end. */
    async orderPrepaid(shard: number): Promise<Entry[]> {
      const epoch = fence.epoch(shard)
      const swept = await sweep(shard, 'prepaid', MAX_PREPAID, (members) =>
        createOrders(
          shard,
          members.map((member) => member.split('|', 1)[0] as string),
        ),
      )
      const made = swept.flatMap(({ answer }) => (answer?.status === 'created' ? [answer.entry] : []))
      if (made.length < swept.length) {
        const others = swept.filter(({ answer }) => answer?.status !== 'created')
        // Somebody else has made their orders, or else nobody ever could.
        const left = await stillIn(
          shard,
          'prepaid',
          others.map(({ member }) => member),
        )
        due.passOver(shard, 'prepaid', left, epoch)
      }
      return made
    },

    /** Cancels orders that are unpaid at their `pay_by`. Closes a shard that has lost any. */
    async expireOrders(shard: number): Promise<Entry[]> {
      const epoch = fence.epoch(shard)
      const swept = await sweep(
        shard,
        'deadlines',
        MAX_DUE_ORDERS,
        eachForItself((members) => expireBatch(shard, members)),
      )
      const lost = swept.filter(({ answer }) => answer[0] === 'lost').length
      if (lost > 0) fence.close(shard, `Redis has lost ${lost} unpaid orders`, 'wrong')
      return swept.flatMap(({ answer }) => {
        if (answer[0] !== 'expired') return []
        const [, entry_id, order] = answer
        return [makeEntry({ shard, entry_id, epoch }, { order: parseOrder(order) })]
      })
    },

    /**
     * Settles parked payments whose time is over: with their order, where it is there, else for good. `loadOrder` brings one that Redis
     * does not know, since it may have moved; where it rejects, they stay parked.
     */
    async settleParked(
      shard: number,
      loadOrder: (id: string) => Promise<unknown> = async () => {},
    ): Promise<Entry[]> {
      const settle = async (id: string) => {
        await loadOrder(id)
        return settleParkedOf(shard, id)
      }
      const swept = await sweep(shard, 'parked', MAX_PARKED, (ids) =>
        Promise.all(ids.map((id) => settle(id).catch((error: Error) => error))),
      )
      return swept.flatMap(({ answer }) => answer ?? [])
    },
  }
}
