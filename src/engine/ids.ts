import { randomBytes } from 'node:crypto'

/**
 * An id is 16 characters with 96 random bits, the hold's first `expires_at` in ms as 11 hex digits by the Redis clock, the shard in hex,
 * and behind a `z` what its installation is called in ids, which those of version 0.1 do not have. A hold and the order made from it share one id: outside they are `hld_<id>` and `ord_<id>`.
 * So an id alone finds its shard, and one that is past its time and not there has expired, which nobody had to remember.
 */
const ID = /^[A-Za-z0-9_-]{16}[0-9a-f]{11}(0|[1-9a-f][0-9a-f]{0,2})(z[0-9a-f]{5})?$/
const EXPIRY_AT = 16
const SHARD_AT = 27
/** Behind the shard, which is in hex. */
const INSTALLATION_MARK = 'z'
/** A million names: enough for installations that might be taken for each other, say on one account of a payment provider. */
const SHORT_NAME_CHARS = 5
const RANDOM_BYTES = 12
const POOL_BYTES = RANDOM_BYTES * 256

let pool = Buffer.alloc(0)
let pool_at = 0

/** 96 random bits as 16 URL-safe characters, drawn from a pool because one call to the system a hold is slow. */
export function randomPart(): string {
  if (pool_at === pool.length) {
    pool = randomBytes(POOL_BYTES)
    pool_at = 0
  }
  pool_at += RANDOM_BYTES
  return pool.toString('base64url', pool_at - RANDOM_BYTES, pool_at)
}

/** What an installation is called in ids. */
export const shortName = (installation: string): string => installation.slice(0, SHORT_NAME_CHARS)

/** How the ids of a shard end. */
export function idEnd(shard: number, installation: string): string {
  const mark = installation === '' ? '' : INSTALLATION_MARK + shortName(installation)
  return shard.toString(16) + mark
}

/** What the installation is called that gave an id out; '' where the id does not say. */
export const installationOfId = (id: string): string => id.slice(SHARD_AT).split(INSTALLATION_MARK)[1] ?? ''

export const holdId = (id: string) => `hld_${id}`
export const orderId = (id: string) => `ord_${id}`

/** The id inside `hld_…` or `ord_…`, or undefined where the text has not that shape. */
export function parseId(prefix: 'hld_' | 'ord_', text: string): string | undefined {
  const id = text.slice(prefix.length)
  return text.startsWith(prefix) && isId(id) ? id : undefined
}

/** Whether a text has the shape of an id. */
export const isId = (text: string): boolean => ID.test(text)

/** The first `expires_at` in ms of the hold with this id; an extension came later. */
export function firstExpiresAtMs(id: string): number {
  return Number.parseInt(id.slice(EXPIRY_AT, SHARD_AT), 16)
}

/** The shard that an id names. It may be one that this installation does not have. */
export function shardOfId(id: string): number {
  return Number.parseInt(id.slice(SHARD_AT), 16)
}
