#!lua flags=allow-oom
--[[
  drop-holds: take holds out of a shard that is being rebuilt. Their units are not counted yet, so none move.
  KEYS[1] epoch        string  the fence
  KEYS[2] holds        zset    id|record of live holds by expires_at in ms
  KEYS[3] prepaid      zset    id|record of paid holds by expires_at in ms
  KEYS[4] released...  string  entry|customer, one a hold that has to be remembered as gone, in the order of holds
  ARGV[1] epoch
  ARGV[2] drops...  id|record, and the moment in ms until which it is remembered as gone, or 0
  Returns { status }
  Status, first match wins: fenced | dropped
]]
-- @include fence
local keys = { epoch = KEYS[1], holds = KEYS[2], prepaid = KEYS[3] }
local epoch, FIRST_RELEASED_KEY, FIRST_DROP = ARGV[1], 4, 2

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local released_key = FIRST_RELEASED_KEY
for at = FIRST_DROP, #ARGV, 2 do
  local member, until_ms = ARGV[at], ARGV[at + 1]
  redis.call('ZREM', keys.holds, member)
  redis.call('ZREM', keys.prepaid, member)
  if until_ms ~= '0' then
    local customer = string.match(member, '^[^|]*|[^|]*|[^|]*|%d+|(.*)$') or ''
    redis.call('SET', KEYS[released_key], '|' .. customer, 'PXAT', until_ms)
    released_key = released_key + 1
  end
end
return { 'dropped' }
