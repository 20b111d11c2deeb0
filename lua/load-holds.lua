#!lua flags=allow-oom
--[[
  load-holds: set which of the surviving holds are paid for and which were extended, in a shard that is being rebuilt.
  KEYS[1] epoch     string  the fence
  KEYS[2] holds     zset    id|record of live holds by expires_at in ms
  KEYS[3] extended  hash    hold id -> its later expires_at in ms
  KEYS[4] prepaid   zset    id|record of paid holds by expires_at in ms
  ARGV[1] epoch
  ARGV[2] loads...  id|record, 1 where it is paid for else 0, expires_at in ms
  Returns { status }
  Status, first match wins: fenced | loaded
]]
-- @include fence
-- @include holds
local keys = { epoch = KEYS[1], holds = KEYS[2], extended = KEYS[3], prepaid = KEYS[4] }
local epoch, FIRST_LOAD = ARGV[1], 2

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
for at = FIRST_LOAD, #ARGV, 3 do
  local hold, expires_at_ms = parse_hold(ARGV[at]), tonumber(ARGV[at + 2])
  local from, to = keys.prepaid, keys.holds
  if ARGV[at + 1] == '1' then
    from, to = to, from
  end
  redis.call('ZREM', from, hold.member)
  redis.call('ZADD', to, score_of(hold.id, expires_at_ms), hold.member)
  if expires_at_ms ~= first_expires_at_ms(hold.id) then
    redis.call('HSET', keys.extended, hold.id, int(expires_at_ms))
  end
end
return { 'loaded' }
