#!lua flags=allow-oom
--[[
  settle-parked: give up on parked payments whose order can never come: a success is due for refund, a failure is ignored.
  KEYS[1] epoch            string  the fence
  KEYS[2] holds            zset    id|record of live holds by expires_at in ms
  KEYS[3] extended         hash    hold id -> its later expires_at in ms
  KEYS[4] prepaid          zset    id|record of paid holds by expires_at in ms
  KEYS[5] journal          stream  what PostgreSQL does not have yet
  KEYS[6] parked           zset    order id of parked payments by their deadline in ms
  KEYS[7] parked_payments  hash    payments that came before this order
  ARGV[1] epoch
  ARGV[2] id
  ARGV[3] park_ttl_ms  the next deadline where the hold still lives
  Returns { status, ... }
  Status, first match wins: fenced | not_due | postponed | settled
    settled  journal entry, payments as JSON
  Journal: the payments
]]
-- @include fence
-- @include clock
-- @include holds
-- @include parked
local keys = {
  epoch = KEYS[1], holds = KEYS[2], extended = KEYS[3], prepaid = KEYS[4], journal = KEYS[5], parked = KEYS[6], parked_payments = KEYS[7],
}
local epoch, id, park_ttl_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()
local deadline_ms = redis.call('ZSCORE', keys.parked, id)
if not deadline_ms or now < tonumber(deadline_ms) then
  return { 'not_due' }
elseif stored_hold(keys, id) then
  redis.call('ZADD', keys.parked, int(now + park_ttl_ms), id)
  return { 'postponed' }
end
local entry, payments_json = give_up_parked(keys, id, 'order_never_came')
if entry == '' then
  redis.call('ZREM', keys.parked, id)
  return { 'not_due' }
end
return { 'settled', entry, payments_json }
