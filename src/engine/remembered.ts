import { parseEpoch, readEpoch } from './epochs.ts'
import { isId } from './ids.ts'
import type { Keys } from './keys.ts'
import type { Nodes } from './nodes.ts'
import { parseProduct, type Terms } from './products.ts'
import { type Order, type Payment, parseOrder, parseParked, parseSeen } from './records.ts'
import { ask } from './redis.ts'

const SCAN_COUNT = 1_000
const PRODUCT_FIELDS = [
  ...['name', 'unit_amount', 'currency', 'hold_ttl_ms', 'starts_at_ms', 'ends_at_ms', 'paused'],
  ...['max_per_hold', 'max_per_customer', 'available', 'held', 'pending', 'sold', 'total'],
]

/** What stands in the place of a hash and is none was written by nobody here. */
function nothingOfAnotherType(error: Error): Record<string, string> {
  if (!error.message.startsWith('WRONGTYPE')) throw error
  return {}
}

/** What a record says, or undefined where nobody can read it. */
function readable<Record>(parse: () => Record): Record | undefined {
  try {
    return parse()
  } catch {
    return undefined
  }
}

/** A change of stock that was asked for under a key. */
export type KeyedChange = { product_id: number; idempotency_key: string; delta: number }
export type RememberedProduct = { id: number; terms: Terms; total: number; version: number }
export type RememberedOrder = { order: Order; payments: Payment[] }

/**
 * What the Redis of a shard remembers beyond what it needs: what it would take to tell a PostgreSQL that has lost it. Read while nobody
 * changes the shard. `tell` hears of records that can not be read.
 */
export function createRemembered(options: { nodes: Nodes; keys: Keys; installation: string }) {
  const { nodes, keys, installation } = options

  async function* scan(shard: number, beginning: string): AsyncGenerator<string[]> {
    let cursor = '0'
    do {
      const asked = nodes.of(shard).scan(cursor, 'MATCH', `${beginning}*`, 'COUNT', SCAN_COUNT)
      const [next, found] = await ask('keys', asked)
      if (found.length > 0) yield found
      cursor = next
    } while (cursor !== '0')
  }
  const hashes = (shard: number, names: string[]) =>
    ask('hashes', Promise.all(names.map((name) => nodes.of(shard).hgetall(name).catch(nothingOfAnotherType))))

  return {
    /** How far the commits of writers had come when they last told this Redis; none where it is that of somebody else. */
    async marks(shard: number): Promise<Array<{ writer: string; commits: number }>> {
      const redis = nodes.of(shard)
      const epoch = await ask('marks', readEpoch(redis, keys.shard(shard, 'epoch')))
      if (parseEpoch(epoch).installation !== installation) return []
      const found = await ask(
        'marks',
        redis.hgetall(keys.shard(shard, 'commits')).catch(nothingOfAnotherType),
      )
      return Object.entries(found).map(([writer, commits]) => ({ writer, commits: Number(commits) }))
    },

    /** Forgets the marks of writers that are gone. */
    async forgetMarks(shard: number, writers: string[]): Promise<void> {
      await ask('marks', nodes.of(shard).hdel(keys.shard(shard, 'commits'), ...writers))
    },

    /** Orders that are live or were so until three days ago, with the payments that they have seen. */
    async *orders(shard: number, tell: (what: string) => void): AsyncGenerator<RememberedOrder[]> {
      const beginning = keys.id(shard, 'order', '')
      for await (const names of scan(shard, beginning)) {
        const found = await hashes(shard, names)
        yield names.flatMap((name, at) => {
          const { order: record, ...fields } = found[at] ?? {}
          const order = readable(() => parseOrder(record ?? ''))
          if (!order || !isId(order.id)) {
            tell(`Redis had an order that can not be read under ${name}: ${record ?? 'nothing'}`)
            return []
          }
          const payments = Object.entries(fields).flatMap(([field, seen]) => {
            if (!field.startsWith('payment:')) return []
            const payment = readable(() => parseSeen(order.id, field.slice('payment:'.length), seen))
            if (!payment)
              tell(`Redis had a payment of ord_${order.id} that can not be read: ${field} ${seen}`)
            return payment ?? []
          })
          return [{ order, payments }]
        })
      }
    },

    /** Payments that wait for their order. */
    async *parked(shard: number, tell: (what: string) => void): AsyncGenerator<Payment[]> {
      const beginning = keys.id(shard, 'parked_payments', '')
      for await (const names of scan(shard, beginning)) {
        const found = await hashes(shard, names)
        yield found.flatMap((fields, at) => {
          const id = (names[at] as string).slice(beginning.length)
          return Object.values(fields).flatMap((json) => {
            const payment = readable(() => parseParked(id, json))
            if (!payment) tell(`Redis had a parked payment of ord_${id} that can not be read: ${json}`)
            return payment ?? []
          })
        })
      }
    },

    /** The keys under which payments came in the last day, with their orders. */
    async *paymentKeys(shard: number): AsyncGenerator<Array<{ idempotency_key: string; order_id: string }>> {
      const beginning = keys.payment(shard, '')
      for await (const names of scan(shard, beginning)) {
        const ids = await ask('payments', nodes.of(shard).mget(...names))
        yield names.flatMap((name, at) => {
          const order_id = ids[at]
          return order_id ? [{ idempotency_key: name.slice(beginning.length), order_id }] : []
        })
      }
    },

    /** Changes of stock of the last day. */
    async *changes(shard: number): AsyncGenerator<KeyedChange[]> {
      const beginning = keys.idem(shard, 'stock', '')
      for await (const names of scan(shard, beginning)) {
        const values = await ask('results', nodes.of(shard).mget(...names))
        yield names.flatMap((name, at) => {
          const [product = '', ...rest] = name.slice(beginning.length).split(':')
          const delta = values[at]?.split('|')[0]
          if (delta === undefined) return []
          return [{ product_id: Number(product), idempotency_key: rest.join(':'), delta: Number(delta) }]
        })
      }
    },

    /** The terms and totals of all products, also of those that a rebuild which broke off had put aside. */
    async products(shard: number): Promise<RememberedProduct[]> {
      const by_id = new Map<number, Record<string, string>>()
      for (const key of ['products_before', 'products'] as const) {
        let cursor = '0'
        do {
          const asked = nodes.of(shard).hscan(keys.shard(shard, key), cursor, 'COUNT', SCAN_COUNT)
          const [next, flat] = await ask('products', asked)
          for (let at = 0; at + 1 < flat.length; at += 2) {
            const [id, field = ''] = (flat[at] as string).split(':')
            const fields = by_id.get(Number(id)) ?? {}
            by_id.set(Number(id), { ...fields, [field]: flat[at + 1] as string })
          }
          cursor = next
        } while (cursor !== '0')
      }
      return [...by_id].flatMap(([id, fields]) => {
        const values = PRODUCT_FIELDS.map((field) => fields[field] ?? null)
        const product = parseProduct(id, values, 0)
        if (!product || fields.total === undefined) return []
        return [
          { id, terms: product.terms, total: Number(fields.total), version: Number(fields.terms_version) },
        ]
      })
    },
  }
}
