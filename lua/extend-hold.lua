#!lua flags=allow-oom
--[[
  extend-hold: let a live hold end one full TTL from now, at most three TTLs after it was placed.
  KEYS[1] epoch     string  the fence
  KEYS[2] holds     zset    id|record of live holds by expires_at in ms
  KEYS[3] extended  hash    hold id -> its later expires_at in ms
  KEYS[4] prepaid   zset    id|record of paid holds by expires_at in ms
  KEYS[5] order     hash    the order
  KEYS[6] released  string  there while a released hold is remembered
  ARGV[1] epoch
  ARGV[2] id
  Returns { status, ... }
  Status, first match wins: fenced | already_used | released | not_found | expired | extension_limit | extended
    extended  id|record, expires_at_ms
]]
-- @include fence
-- @include clock
-- @include holds
local keys = { epoch = KEYS[1], holds = KEYS[2], extended = KEYS[3], prepaid = KEYS[4], order = KEYS[5], released = KEYS[6] }
local epoch, id = ARGV[1], ARGV[2]
local MAX_TTLS = 3

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()
local state, hold = find_hold(keys, id, now)
if state ~= 'live' then
  return { state }
end
local later_ms = math.min(now + hold.ttl_ms, hold.created_at_ms + MAX_TTLS * hold.ttl_ms)
if later_ms <= hold.expires_at_ms then
  return { 'extension_limit' }
end
redis.call('ZADD', hold.key, 'XX', score_of(id, later_ms), hold.member)
redis.call('HSET', keys.extended, id, int(later_ms))
return { 'extended', hold.member, later_ms }
