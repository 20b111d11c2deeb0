import type { Redis } from 'ioredis'
import type { Keys, ShardKey } from './keys.ts'
import { type Hold, parseHold, parseOrder } from './records.ts'
import { ask } from './redis.ts'
import type { Run } from './run.ts'

const TYPES: Partial<Record<ShardKey, string>> = {
  holds: 'hash',
  expiry: 'zset',
  prepaid: 'zset',
  journal: 'stream',
  dead: 'stream',
}
const SCAN_COUNT = 2_000
const UNLINK_COUNT = 500
/** Holds dropped, or buyers loaded, in one step. */
const MAX_STEP = 500

export type Dropped = { hold: Pick<Hold, 'id' | 'expires_at_ms'>; is_remembered: boolean }

/** What only a rebuild does to a shard. All writes but the removal of single orders carry the new epoch. */
export function createRebuilding(options: { redis: Redis; run: Run; keys: Keys }) {
  const { redis, run, keys } = options

  async function* pages<Thing>(things: Thing[]): AsyncGenerator<Thing[]> {
    for (let at = 0; at < things.length; at += MAX_STEP) yield things.slice(at, at + MAX_STEP)
  }

  async function scores(shard: number, key: 'expiry' | 'prepaid'): Promise<Map<string, number>> {
    const flat = await ask('holds', redis.zrange(keys.shard(shard, key), '0', '-1', 'WITHSCORES'))
    const found = new Map<string, number>()
    for (let at = 0; at + 1 < flat.length; at += 2) found.set(flat[at] as string, Number(flat[at + 1]))
    return found
  }

  return {
    /** Forgets counters, terms, deadlines, buyers and parked payments. Returns the time by the Redis clock. */
    async clearShard(shard: number): Promise<number> {
      const [, now_ms] = await run('clear-shard', shard, { args: {} })
      return now_ms
    },

    /** Forgets all orders, and the payments parked for orders that have not come. */
    async forgetOrders(shard: number): Promise<void> {
      for (const pattern of [keys.id(shard, 'order', '*'), keys.id(shard, 'parked_payments', '*')]) {
        let cursor = '0'
        do {
          const [next, found] = await ask('orders', redis.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT))
          for (let at = 0; at < found.length; at += UNLINK_COUNT) {
            await ask('orders', redis.unlink(...found.slice(at, at + UNLINK_COUNT)))
          }
          cursor = next
        } while (cursor !== '0')
      }
    },

    /** Forgets the results of keyed requests whose orders are not known: nobody may be told again that there is one. */
    async forgetResults(shard: number, findKnown: (ids: string[]) => Promise<Set<string>>): Promise<void> {
      let cursor = '0'
      do {
        const pattern = keys.idem(shard, 'orders', '*')
        const [next, found] = await ask('results', redis.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT))
        const values = found.length === 0 ? [] : await ask('results', redis.mget(...found))
        const ids = values.map((value) => value && parseOrder(value.split('|').slice(2).join('|')).id)
        const known = await findKnown(ids.filter((id) => id !== null))
        const unknown = found.filter((_, at) => !known.has(ids[at] ?? ''))
        if (unknown.length > 0) await ask('results', redis.unlink(...unknown))
        cursor = next
      } while (cursor !== '0')
    },

    /** Forgets the results of stock adjustments that are not known: their units are not in the totals. */
    async forgetAdjustments(
      shard: number,
      findKnown: (asked: Array<{ product_id: number; idempotency_key: string }>) => Promise<Set<string>>,
    ): Promise<void> {
      const prefix = keys.idem(shard, 'stock', '')
      let cursor = '0'
      do {
        const [next, found] = await ask(
          'results',
          redis.scan(cursor, 'MATCH', `${prefix}*`, 'COUNT', SCAN_COUNT),
        )
        const asked = found.map((key) => {
          const [product = '', ...rest] = key.slice(prefix.length).split(':')
          return { product_id: Number(product), idempotency_key: rest.join(':') }
        })
        const known = found.length === 0 ? new Set() : await findKnown(asked)
        const unknown = found.filter((key) => !known.has(key.slice(prefix.length)))
        if (unknown.length > 0) await ask('results', redis.unlink(...unknown))
        cursor = next
      } while (cursor !== '0')
    },

    /** Forgets keys of another type than the scripts give them: whatever they held is gone already. */
    async forgetMistyped(shard: number): Promise<void> {
      for (const [name, type] of Object.entries(TYPES)) {
        const key = keys.shard(shard, name as ShardKey)
        const found = await ask('type', redis.type(key))
        if (found !== type && found !== 'none') await ask('type', redis.unlink(key))
      }
    },

    /** All holds that are there, dead or alive, those that have no end with 0 in its place; and ends that have no hold. */
    async allHolds(shard: number): Promise<{ holds: Hold[]; stray_ids: string[] }> {
      const [expiry, prepaid] = await Promise.all([scores(shard, 'expiry'), scores(shard, 'prepaid')])
      const holds: Hold[] = []
      let cursor = '0'
      do {
        const [next, flat] = await ask(
          'holds',
          redis.hscan(keys.shard(shard, 'holds'), cursor, 'COUNT', SCAN_COUNT),
        )
        for (let at = 0; at + 1 < flat.length; at += 2) {
          const id = flat[at] as string
          holds.push(parseHold(id, flat[at + 1] as string, expiry.get(id) ?? prepaid.get(id) ?? 0))
        }
        cursor = next
      } while (cursor !== '0')
      const ids = new Set(holds.map(({ id }) => id))
      const stray_ids = [...expiry.keys(), ...prepaid.keys()].filter((id) => !ids.has(id))
      return { holds, stray_ids }
    },

    /** How many of these ids have a hold without an end, or an end without a hold, each looked at in one moment. */
    async countBroken(shard: number, ids: string[]): Promise<number> {
      let count = 0
      for (const id of ids) {
        const found = await ask(
          'holds',
          redis
            .multi()
            .hexists(keys.shard(shard, 'holds'), id)
            .zscore(keys.shard(shard, 'expiry'), id)
            .zscore(keys.shard(shard, 'prepaid'), id)
            .exec(),
        )
        const [has_hold, expires_at, prepaid_until] = (found ?? []).map(([, reply]) => reply)
        if ((has_hold === 1) !== ((expires_at ?? prepaid_until ?? null) !== null)) count += 1
      }
      return count
    },

    /** Takes holds out. Those with `is_remembered` answer 410 until they would have ended. */
    async dropHolds(shard: number, holds: Dropped[]): Promise<void> {
      for await (const page of pages(holds)) {
        const remembered = page.filter(({ is_remembered }) => is_remembered)
        await run('drop-holds', shard, {
          args: {},
          keys: remembered.map(({ hold }) => keys.id(shard, 'released', hold.id)),
          rest: page.flatMap(({ hold, is_remembered }) => [hold.id, is_remembered ? hold.expires_at_ms : 0]),
        })
      }
    },

    /** Sets which surviving holds are paid for, and what buyers have. */
    async loadHolds(shard: number, prepaid: Hold[], buyers: Map<string, number>): Promise<void> {
      for await (const page of pages(prepaid)) {
        const rest = page.flatMap(({ id, expires_at_ms }) => [id, expires_at_ms])
        await run('load-holds', shard, { args: { id_count: rest.length }, rest })
      }
      for await (const page of pages([...buyers])) {
        await run('load-holds', shard, { args: { id_count: 0 }, rest: page.flat() })
      }
    },
  }
}
