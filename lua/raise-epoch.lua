#!lua flags=allow-oom
--[[
  raise-epoch: begin a rebuild. Shuts out everybody who believes in an earlier epoch. Refused where somebody else has raised it as
  high, or higher: the caller has lost its lock. An epoch begins with its number, and what follows that does not count.
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

if number_of(redis.call('GET', keys.epoch) or '') >= number_of(epoch) then
  return { 'fenced' }
end
redis.call('SET', keys.epoch, epoch)
return { 'raised' }
