import type { Held } from './serve.ts'

/*
  The script that most would write first: fair and compact, without a fence, limits, dead holds, several items or an
  idempotency key.
*/

export const NAIVE_EXPIRY = 'naive:expiry'
export const naiveProduct = (product_id: number) => `naive:product:${product_id}`
export const naiveHold = (id: string) => `naive:hold:${id}`

export const NAIVE_SCRIPT = `
local product = redis.call('HMGET', KEYS[1], 'available', 'unit_amount', 'currency')
local qty = tonumber(ARGV[3])
if not product[1] or tonumber(product[1]) < qty then
  return { 'short' }
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expires_at = now + ARGV[4]
redis.call('HINCRBY', KEYS[1], 'available', -qty)
redis.call('HINCRBY', KEYS[1], 'held', qty)
redis.call('HSET', KEYS[2], 'product_id', ARGV[2], 'qty', ARGV[3], 'unit_amount', product[2], 'currency', product[3], 'created_at', now)
redis.call('ZADD', KEYS[3], expires_at, ARGV[1])
return { 'placed', product[2], product[3], now, expires_at }
`

/** The units of the naive script's product; enough for any run. */
export const naiveStock = (available: number) => ({ available, held: 0, unit_amount: 9900, currency: 'USD' })

export function readNaive(reply: unknown): Held | undefined {
  const [status, unit_amount, currency, created_at_ms, expires_at_ms] = reply as [
    string,
    string,
    string,
    number,
    number,
  ]
  if (status !== 'placed') return undefined
  return { unit_amount: Number(unit_amount), currency, created_at_ms, expires_at_ms }
}
