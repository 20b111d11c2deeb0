#!lua flags=allow-oom
--[[
  forget: delete keys of a shard that is being rebuilt, of these kinds or whatever else stands where it can not be.
  KEYS[1] epoch               string  the fence
  KEYS[2] order...            hash    orders
  KEYS[3] parked_payments...  hash    payments that came before their order
  KEYS[4] idem...             string  results of keyed requests
  ARGV[1] epoch
  ARGV[2] in_ms  after which they go, 0 for at once
  Returns { status }
  Status, first match wins: fenced | forgotten
]]
-- @include fence
local keys = { epoch = KEYS[1] }
local epoch, in_ms, FIRST_FORGOTTEN = ARGV[1], ARGV[2], 2

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
if in_ms == '0' then
  redis.call('UNLINK', unpack(KEYS, FIRST_FORGOTTEN))
else
  for at = FIRST_FORGOTTEN, #KEYS do
    redis.call('PEXPIRE', KEYS[at], in_ms)
  end
end
return { 'forgotten' }
