#!lua flags=allow-oom
--[[
  forget: delete keys of a shard that is being rebuilt, of these kinds or whatever else stands where it can not be.
  KEYS[1] epoch               string  the fence
  KEYS[2] order...            hash    orders
  KEYS[3] parked_payments...  hash    payments that came before their order
  KEYS[4] idem...             string  results of keyed requests
  ARGV[1] epoch
  Returns { status }
  Status, first match wins: fenced | forgotten
]]
-- @include fence
local keys = { epoch = KEYS[1] }
local epoch, FIRST_FORGOTTEN = ARGV[1], 2

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
redis.call('UNLINK', unpack(KEYS, FIRST_FORGOTTEN))
return { 'forgotten' }
