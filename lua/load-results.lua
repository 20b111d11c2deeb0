#!lua flags=allow-oom
--[[
  load-results: bring results of keyed requests from another shard, for as long as they have left.
  KEYS[1] epoch    string  the fence
  KEYS[2] idem...  string  fingerprint and result
  ARGV[1] epoch
  ARGV[2] results...  value, and how long it is kept in ms, in the order of the keys
  Returns { status }
  Status, first match wins: fenced | loaded
]]
-- @include fence
local keys = { epoch = KEYS[1] }
local epoch, FIRST_KEY, FIRST_RESULT = ARGV[1], 2, 2

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
for at = FIRST_KEY, #KEYS do
  local value_at = FIRST_RESULT + 2 * (at - FIRST_KEY)
  redis.call('SET', KEYS[at], ARGV[value_at], 'PX', ARGV[value_at + 1])
end
return { 'loaded' }
