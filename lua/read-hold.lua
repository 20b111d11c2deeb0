#!lua flags=no-writes
--[[
  read-hold: what a hold is at this moment.
  KEYS[1] epoch     string  the fence
  KEYS[2] holds     zset    id|record of live holds by expires_at in ms
  KEYS[3] extended  hash    hold id -> its later expires_at in ms
  KEYS[4] prepaid   zset    id|record of paid holds by expires_at in ms
  KEYS[5] order     hash    the order
  KEYS[6] released  string  entry|customer; there while a released hold is remembered
  ARGV[1] epoch
  ARGV[2] id
  Returns { status, ... }
  Status, first match wins: fenced | already_used | released | not_found | expired | live
    already_used  order as text
    released      customer, or ''
    live          id|record, expires_at_ms
]]
-- @include fence
-- @include clock
-- @include holds
-- @include orders
local keys = { epoch = KEYS[1], holds = KEYS[2], extended = KEYS[3], prepaid = KEYS[4], order = KEYS[5], released = KEYS[6] }
local epoch, id = ARGV[1], ARGV[2]

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local state, hold = find_hold(keys, id, clock_ms())
if state == 'live' then
  return { 'live', hold.member, hold.expires_at_ms }
elseif state == 'already_used' then
  return { 'already_used', order_text(find_order(keys.order)) }
elseif state == 'released' then
  return { 'released', string.match(redis.call('GET', keys.released), '|(.*)$') or '' }
end
return { state }
