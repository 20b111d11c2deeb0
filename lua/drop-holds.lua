#!lua flags=allow-oom
--[[
  drop-holds: take holds out of a shard that is being rebuilt. Their units are not counted yet, so none move.
  KEYS[1] epoch        string  the fence
  KEYS[2] holds        hash    hold id -> record
  KEYS[3] expiry       zset    hold id by expires_at in ms
  KEYS[4] prepaid      zset    paid holds by expires_at in ms
  KEYS[5] released...  string  entry|customer, one an id that has to be remembered as gone, in the order of ids
  ARGV[1] epoch
  ARGV[2] ids...  id, and the moment in ms until which it is remembered as gone, or 0
  Returns { status }
  Status, first match wins: fenced | dropped
]]
-- @include fence
local keys = { epoch = KEYS[1], holds = KEYS[2], expiry = KEYS[3], prepaid = KEYS[4] }
local epoch, FIRST_RELEASED_KEY, FIRST_ID = ARGV[1], 5, 2

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local released_key = FIRST_RELEASED_KEY
for at = FIRST_ID, #ARGV, 2 do
  local id, until_ms = ARGV[at], ARGV[at + 1]
  local record = redis.call('HGET', keys.holds, id) or ''
  redis.call('HDEL', keys.holds, id)
  redis.call('ZREM', keys.expiry, id)
  redis.call('ZREM', keys.prepaid, id)
  if until_ms ~= '0' then
    local customer = string.match(record, '^[^|]*|[^|]*|%d+|%d+|(.*)$') or ''
    redis.call('SET', KEYS[released_key], '|' .. customer, 'PXAT', until_ms)
    released_key = released_key + 1
  end
end
return { 'dropped' }
