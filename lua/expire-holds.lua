#!lua flags=allow-oom
--[[
  expire-holds: give back the units of dead holds, a bounded number of them, and name the paid ones that are due to become orders.
  KEYS[1] epoch     string  the fence
  KEYS[2] products  hash    counters and terms of sale
  KEYS[3] holds     zset    id|record of live holds by expires_at in ms
  KEYS[4] extended  hash    hold id -> its later expires_at in ms
  KEYS[5] prepaid   zset    id|record of paid holds by expires_at in ms
  KEYS[6] buyers    hash    product:customer -> units
  ARGV[1] epoch
  ARGV[2] limit  holds to take at most
  Returns { status }, or { 'done', number of dead holds, the longest that one was late in ms, { id, ... } of paid holds }
  Status, first match wins: fenced | done
]]
-- @include fence
-- @include clock
-- @include dead-holds
local keys = { epoch = KEYS[1], products = KEYS[2], holds = KEYS[3], extended = KEYS[4], prepaid = KEYS[5], buyers = KEYS[6] }
local epoch, limit = ARGV[1], tonumber(ARGV[2])

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()
local soonest = redis.call('ZRANGE', keys.holds, 0, 0, 'WITHSCORES')
local count = take_dead_holds(keys, now, limit)
drop_dead_holds(keys)
save_buyers(keys.buyers)
save_stock(keys.products)
local late_ms = count > 0 and now - math.floor(tonumber(soonest[2])) or 0
local prepaid_ids = {}
for i, member in ipairs(redis.call('ZRANGE', keys.prepaid, '-inf', '(' .. int(now + 1), 'BYSCORE', 'LIMIT', 0, limit)) do
  prepaid_ids[i] = parse_hold(member).id
end
return { 'done', count, late_ms, prepaid_ids }
