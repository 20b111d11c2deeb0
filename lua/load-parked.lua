#!lua flags=allow-oom
--[[
  load-parked: bring back a parked payment that Redis has forgotten.
  KEYS[1] epoch            string  the fence
  KEYS[2] parked           zset    order id of parked payments by their deadline in ms
  KEYS[3] parked_payments  hash    payments that came before this order
  ARGV[1] epoch
  ARGV[2] id
  ARGV[3] key          idempotency key
  ARGV[4] payment      as JSON
  ARGV[5] deadline_ms
  Returns { status }
  Status, first match wins: fenced | loaded
]]
-- @include fence
-- @include parked
local keys = { epoch = KEYS[1], parked = KEYS[2], parked_payments = KEYS[3] }
local epoch, id, key, payment, deadline_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
-- What can not be read was parked by nobody.
if not pcall(count_parked, keys.parked_payments) then
  redis.call('DEL', keys.parked_payments)
end
redis.call('HSETNX', keys.parked_payments, key, payment)
redis.call('ZADD', keys.parked, 'NX', deadline_ms, id)
return { 'loaded' }
