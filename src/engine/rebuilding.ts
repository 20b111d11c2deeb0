import { firstExpiresAtMs } from './ids.ts'
import type { Keys, ShardKey } from './keys.ts'
import type { Nodes } from './nodes.ts'
import { expiresAtMs, type Hold, parseHold } from './records.ts'
import { ask } from './redis.ts'
import type { Run } from './run.ts'

const TYPES: Partial<Record<ShardKey, string>> = {
  holds: 'zset',
  extended: 'hash',
  prepaid: 'zset',
  deadlines: 'zset',
  parked: 'zset',
  journal: 'stream',
  dead: 'stream',
  commits: 'hash',
}
const COUNTS = ['terms_version', 'total', 'available', 'held', 'pending', 'sold'] as const
const SCAN_COUNT = 2_000
/** What a rebuild leaves behind is remembered for as long as a final order, should PostgreSQL lose it while it is loaded again. */
const LEFT_BEHIND_MS = 3 * 24 * 3600 * 1000
/** Keys forgotten, holds dropped or moved, buyers or results loaded, in one step: 1 ms of Redis. */
const MAX_STEP = 500
/** Holds, or fields of a hash, read at once: 1 ms of Redis. */
const PAGE = 5_000

/** A hold as it stands in Redis, dead or alive. */
export type StoredHold = Hold & { member: string; is_prepaid: boolean }

/**
 * What only a rebuild does to a shard. All writes carry its epoch, so that one who lost its lock without knowing it does nothing
 * to what its successor builds.
 */
export function createRebuilding(options: { nodes: Nodes; run: Run; keys: Keys }) {
  const { nodes, run, keys } = options

  function* pages<Thing>(things: Thing[], size = MAX_STEP): Generator<Thing[]> {
    for (let at = 0; at < things.length; at += size) yield things.slice(at, at + size)
  }

  async function forget(shard: number, names: string[], in_ms = 0): Promise<void> {
    for (const page of pages(names)) await run('forget', shard, { args: { in_ms }, keys: page })
  }

  /** What the fields of a hash say. In pages: some 100,000 arguments of one call are more than the stack holds. */
  async function readFields(shard: number, key: ShardKey, fields: string[]): Promise<Array<string | null>> {
    const found: Array<string | null> = []
    for (const page of pages(fields, PAGE)) {
      const values = await ask(key, nodes.of(shard).hmget(keys.shard(shard, key), ...page))
      for (const value of values) found.push(value)
    }
    return found
  }

  /** All holds that stand in the shard, dead or alive, read while nobody places any. */
  async function* holdPages(shard: number): AsyncGenerator<StoredHold[]> {
    for (const key of ['holds', 'prepaid'] as const) {
      const name = keys.shard(shard, key)
      for (let from = 0, are_more = true; are_more; from += PAGE) {
        const read = nodes.of(shard).zrange(name, String(from), String(from + PAGE - 1), 'WITHSCORES')
        const flat = await ask('holds', read)
        const page: StoredHold[] = []
        for (let at = 0; at + 1 < flat.length; at += 2) {
          const member = flat[at] as string
          const hold = parseHold(member, expiresAtMs(flat[at + 1] as string))
          page.push(Object.assign(hold, { member, is_prepaid: key === 'prepaid' }))
        }
        if (page.length > 0) yield page
        are_more = page.length === PAGE
      }
    }
  }

  /** Copies those keys of one beginning whose values are wanted, for as long as they have left. */
  async function copyKeys(
    from: number,
    to: number,
    beginning: (shard: number) => string,
    isWanted: (value: string) => boolean = () => true,
  ): Promise<void> {
    let cursor = '0'
    do {
      const [next, found] = await ask(
        'results',
        nodes.of(from).scan(cursor, 'MATCH', `${beginning(from)}*`, 'COUNT', SCAN_COUNT),
      )
      const reads = found.map(async (key) => {
        const [value, left_ms] = await Promise.all([nodes.of(from).get(key), nodes.of(from).pttl(key)])
        if (value === null || left_ms <= 0 || !isWanted(value)) return []
        return [{ key: beginning(to) + key.slice(beginning(from).length), value, left_ms }]
      })
      const results = (await ask('results', Promise.all(reads))).flat()
      for (const page of pages(results)) {
        const rest = page.flatMap(({ value, left_ms }) => [value, left_ms])
        await run('load-results', to, { args: {}, keys: page.map(({ key }) => key), rest })
      }
      cursor = next
    } while (cursor !== '0')
  }

  return {
    readFields,

    /**
     * What a shard has of products, null where it does not know one: the version of its terms, and whether its counters are such as a script
     * takes. Those of one product are read in one moment, since others may sell it meanwhile.
     */
    async readCounts(
      shard: number,
      product_ids: number[],
    ): Promise<Array<{ version: number; is_sound: boolean } | null>> {
      const seen: Array<{ version: number; is_sound: boolean } | null> = []
      for (const page of pages(product_ids)) {
        const fields = page.flatMap((id) => COUNTS.map((field) => `${id}:${field}`))
        const values = await readFields(shard, 'products', fields)
        for (let at = 0; at < values.length; at += COUNTS.length) {
          const [version, total, ...parts] = values
            .slice(at, at + COUNTS.length)
            .map((text) => text ?? 'none')
          const counts = parts.map(Number)
          const sum = counts.reduce((one, other) => one + other, 0)
          const are_counts = counts.every((count) => count >= 0 && Number.isSafeInteger(count))
          const is_sound = are_counts && sum === Number(total)
          seen.push(total === 'none' ? null : { version: Number(version) || 0, is_sound })
        }
      }
      return seen
    },

    /** Raises the epoch of a shard to that in which this engine believes. Rejects where it is that already, or a later one. */
    async raiseEpoch(shard: number): Promise<void> {
      await run('raise-epoch', shard, { args: {} })
    },

    /** Forgets counters, terms, deadlines, buyers and which payments are parked. Returns the time by the Redis clock. */
    async clearShard(shard: number): Promise<number> {
      const [, now_ms] = await run('clear-shard', shard, { args: {} })
      return now_ms
    },

    /**
     * Lets go of unpaid orders, and of the payments parked for orders that have not come, all that would stay for ever: they count no more, like
     * final orders of earlier epochs, and end by themselves. Forgets whatever stands where the orders of paid holds shall be.
     */
    async forgetOrders(shard: number): Promise<void> {
      for (const [listed, kept, in_ms] of [
        ['deadlines', 'order', LEFT_BEHIND_MS],
        ['prepaid', 'order', 0],
        ['parked', 'parked_payments', LEFT_BEHIND_MS],
      ] as const) {
        const list = keys.shard(shard, listed)
        for (let from = 0, are_more = true; are_more; from += PAGE) {
          const page = nodes.of(shard).zrange(list, String(from), String(from + PAGE - 1))
          const members = await ask(listed, page)
          const ids = members.map((member) => member.split('|')[0] as string)
          await forget(
            shard,
            ids.map((id) => keys.id(shard, kept, id)),
            in_ms,
          )
          are_more = members.length === PAGE
        }
      }
    },

    /** Forgets the products as they were before they were loaded again. */
    forgetBefore: (shard: number): Promise<void> => forget(shard, [keys.shard(shard, 'products_before')]),

    /** Forgets keys of another type than the scripts give them: whatever they held is gone already. */
    async forgetMistyped(shard: number): Promise<void> {
      for (const [name, type] of Object.entries(TYPES)) {
        const key = keys.shard(shard, name as ShardKey)
        const found = await ask('type', nodes.of(shard).type(key))
        if (found !== type && found !== 'none') await forget(shard, [key])
      }
    },

    holdPages,

    async allHolds(shard: number): Promise<StoredHold[]> {
      const holds: StoredHold[] = []
      for await (const page of holdPages(shard)) for (const hold of page) holds.push(hold)
      return holds
    },

    /** How many of these holds can not be found by their id, because Redis has lost that they were extended. */
    async countUnfindable(shard: number, holds: StoredHold[]): Promise<number> {
      const later = holds.filter(({ id, expires_at_ms }) => expires_at_ms !== firstExpiresAtMs(id))
      const ids = later.map(({ id }) => id)
      const found = await readFields(shard, 'extended', ids)
      return later.filter(({ expires_at_ms }, at) => Number(found[at]) !== expires_at_ms).length
    },

    /** Takes holds out. Those with `is_remembered` answer 410 until they would have ended. */
    async dropHolds(
      shard: number,
      drops: Array<{ hold: StoredHold; is_remembered: boolean }>,
    ): Promise<void> {
      for (const page of pages(drops)) {
        const remembered = page.filter(({ is_remembered }) => is_remembered)
        await run('drop-holds', shard, {
          args: {},
          keys: remembered.map(({ hold }) => keys.id(shard, 'released', hold.id)),
          rest: page.flatMap(({ hold, is_remembered }) => [
            hold.member,
            is_remembered ? hold.expires_at_ms : 0,
          ]),
        })
      }
    },

    /** Sets which surviving holds are paid for and which were extended. The others stand as they should. */
    async loadHolds(shard: number, holds: StoredHold[], paid: Set<string>): Promise<void> {
      const changed = holds.filter(
        ({ id, is_prepaid, expires_at_ms }) =>
          is_prepaid !== paid.has(id) || expires_at_ms !== firstExpiresAtMs(id),
      )
      for (const page of pages(changed)) {
        const rest = page.flatMap(({ id, member, expires_at_ms }) => [
          member,
          paid.has(id) ? 1 : 0,
          expires_at_ms,
        ])
        await run('load-holds', shard, { args: {}, rest })
      }
    },

    /** Puts holds of another shard into this one, beside those that stand there. */
    async copyHolds(shard: number, holds: StoredHold[]): Promise<void> {
      for (const page of pages(holds)) {
        const rest = page.flatMap(({ member, is_prepaid, expires_at_ms }) => [
          member,
          Number(is_prepaid),
          expires_at_ms,
        ])
        await run('load-holds', shard, { args: {}, rest })
      }
    },

    /** Copies the results of keyed requests for products to another shard, so that they are known there when they come again. */
    async copyResults(from: number, to: number, product_ids: Set<number>): Promise<void> {
      const isTheirs = (value: string) => {
        const [, , ...member] = value.split('|')
        return parseHold(member.join('|'), 0).items.some(({ product_id }) => product_ids.has(product_id))
      }
      await copyKeys(from, to, (shard) => keys.idemOf(shard, 'holds'), isTheirs)
      for (const id of product_ids) await copyKeys(from, to, (shard) => keys.idemOf(shard, `stock:${id}:`))
    },

    /** Sets what buyers have, by product and customer. */
    async loadBuyers(shard: number, buyers: Map<string, number>): Promise<void> {
      for (const page of pages([...buyers])) {
        await run('load-buyers', shard, { args: {}, rest: page.flat() })
      }
    },
  }
}
