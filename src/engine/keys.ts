import { tagOf } from './slots.ts'

/**
 * Every Redis key of Holdfast. Nothing else builds one.
 * The hash tag puts all keys of a shard into one slot of a Redis Cluster.
 */
export type ShardKey =
  | 'epoch'
  | 'products'
  | 'products_before'
  | 'holds'
  | 'extended'
  | 'prepaid'
  | 'deadlines'
  | 'buyers'
  | 'bought'
  | 'journal'
  | 'parked'
  | 'dead'
  | 'commits'

/** Keys of one hold, which share its id with the order that may come from it. */
export type IdKey = 'order' | 'released' | 'parked_payments'

export type Keys = ReturnType<typeof createKeys>

/** @param prefix what all keys begin with, so that several installations can share a Redis */
export function createKeys(prefix: string) {
  const of = (shard: number, rest: string) => `${prefix}:{${tagOf(shard)}}:${rest}`
  return {
    shard: (shard: number, key: ShardKey) => of(shard, key),
    id: (shard: number, key: IdKey, id: string) => of(shard, `${key}:${id}`),
    /** The result of a keyed request. `scope` says of which kind, and whose. */
    idem: (shard: number, scope: string, key: string) => of(shard, `idem:${scope}:${key}`),
    /** How the results of one kind begin, whosever they are. */
    idemOf: (shard: number, kind: string) => of(shard, `idem:${kind}`),
    /** The requests of one sender in this minute; belongs to no shard. */
    rate: (sender: string) => `${prefix}:rate:${sender}`,
    /** The order that a payment's idempotency key was used for. */
    payment: (shard: number, key: string) => of(shard, `payment:${key}`),
  }
}
