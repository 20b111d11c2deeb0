#!lua flags=allow-oom
--[[
  load-holds: set which of the surviving holds are paid, and what buyers have, in a shard that is being rebuilt.
  KEYS[1] epoch    string  the fence
  KEYS[2] expiry   zset    hold id by expires_at in ms
  KEYS[3] prepaid  zset    paid holds by expires_at in ms
  KEYS[4] buyers   hash    product:customer -> units
  ARGV[1] epoch
  ARGV[2] id_count  number of arguments that name paid holds
  ARGV[3] loads...  id and expires_at in ms of each paid hold; then buyer, units of each buyer
  Returns { status }
  Status, first match wins: fenced | loaded
]]
-- @include fence
local keys = { epoch = KEYS[1], expiry = KEYS[2], prepaid = KEYS[3], buyers = KEYS[4] }
local epoch, id_count, FIRST_LOAD = ARGV[1], tonumber(ARGV[2]), 3

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
for at = FIRST_LOAD, FIRST_LOAD + id_count - 1, 2 do
  redis.call('ZREM', keys.expiry, ARGV[at])
  redis.call('ZADD', keys.prepaid, ARGV[at + 1], ARGV[at])
end
for at = FIRST_LOAD + id_count, #ARGV, 2 do
  redis.call('HSET', keys.buyers, ARGV[at], ARGV[at + 1])
end
return { 'loaded' }
