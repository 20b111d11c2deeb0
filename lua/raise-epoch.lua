#!lua flags=allow-oom
--[[
  raise-epoch: begin a rebuild. Shuts out everybody who believes in an earlier epoch. Refused where somebody else has raised it as
  high, or higher: the caller has lost its lock; or where the shard names another installation. An epoch is number@installation, or
  of version 0.1 a number alone.
  KEYS[1] epoch  string  the fence
  ARGV[1] epoch  the new one
  Returns { status }
  Status, first match wins: fenced | raised
]]
local keys = { epoch = KEYS[1] }
local epoch = ARGV[1]

local function number_of(text)
  return tonumber(string.match(text, '^%d+')) or 0
end

-- Whatever else stands there is nobody's.
local known = redis.call('TYPE', keys.epoch).ok == 'string' and redis.call('GET', keys.epoch) or ''
local owner = string.match(known, '@.*$')
if number_of(known) >= number_of(epoch) or owner and owner ~= string.match(epoch, '@.*$') then
  return { 'fenced' }
end
redis.call('SET', keys.epoch, epoch)
return { 'raised' }
