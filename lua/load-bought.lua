#!lua
--[[
  load-bought: tell what customers had bought of products with a limit when the shard was rebuilt.
  KEYS[1] epoch   string  the fence
  KEYS[2] bought  hash    product:customer -> units in orders paid before the last rebuild
  ARGV[1] epoch
  ARGV[2] bought...  product:customer, units
  Returns { status }
  Status, first match wins: fenced | loaded
]]
-- @include fence
local keys = { epoch = KEYS[1], bought = KEYS[2] }
local epoch, FIRST_BUYER = ARGV[1], 2

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
redis.call('HSET', keys.bought, unpack(ARGV, FIRST_BUYER))
return { 'loaded' }
