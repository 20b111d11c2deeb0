#!lua flags=allow-oom
--[[
  expire-holds: give back the units of dead holds, a bounded number of them.
  KEYS[1] epoch     string  the fence
  KEYS[2] products  hash    counters and terms of sale
  KEYS[3] holds     zset    id|record of live holds by expires_at in ms
  KEYS[4] extended  hash    hold id -> its later expires_at in ms
  KEYS[5] buyers    hash    product:customer -> units
  ARGV[1] epoch
  ARGV[2] limit  holds to take at most
  Returns { status }, or { 'done', number of dead holds, the longest that one was late in ms, { member, ... } of those that can not be read or given back }
  Status, first match wins: fenced | done
]]
-- @include fence
-- @include clock
-- @include dead-holds
local keys = { epoch = KEYS[1], products = KEYS[2], holds = KEYS[3], extended = KEYS[4], buyers = KEYS[5] }
local epoch, limit = ARGV[1], tonumber(ARGV[2])

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()
local count, since_ms = take_dead_holds(keys, now, limit, true)
drop_dead_holds(keys)
save_buyers(keys.buyers)
save_stock(keys.products)
return { 'done', count, count > 0 and now - since_ms or 0, stuck_members }
