#!lua flags=allow-oom
--[[
  load-buyers: set what customers have of products with a limit, in a shard that is being rebuilt.
  KEYS[1] epoch   string  the fence
  KEYS[2] buyers  hash    product:customer -> units
  ARGV[1] epoch
  ARGV[2] buyers...  product:customer, units
  Returns { status }
  Status, first match wins: fenced | loaded
]]
-- @include fence
local keys = { epoch = KEYS[1], buyers = KEYS[2] }
local epoch, FIRST_BUYER = ARGV[1], 2

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
redis.call('HSET', keys.buyers, unpack(ARGV, FIRST_BUYER))
return { 'loaded' }
