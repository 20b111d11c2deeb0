#!lua
--[[
  claim-keys: note for which shard an idempotency key is used, since shards do not know of each other's keys.
  KEYS[1] epoch     string  the fence
  KEYS[2] claim...  string  a request each: shard|when in ms
  ARGV[1] epoch
  ARGV[2] ttl_ms
  ARGV[3] busy_ms  for so long a request that has claimed a key may still be under way
  ARGV[4] requests...  a request: shard, and behind a comma the claim that was looked into and led nowhere
  Returns { status }, or { 'done', { status, ... } a request, in their order }
  Status, first match wins: fenced | done
  Of a request: busy | elsewhere | claimed
    elsewhere  the claim: its shard may have the result of another request
]]
-- @include fence
-- @include clock
local keys = { epoch = KEYS[1] }
local epoch, ttl_ms, busy_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local FIRST_CLAIM, FIRST_REQUEST = 2, 4

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()

local function claim(key, shard, looked_into)
  local held = redis.call('GET', key)
  if held and held ~= looked_into then
    local other, at_ms = string.match(held, '^(%x+)|(%d+)$')
    if other ~= shard then
      if now - tonumber(at_ms) < busy_ms then
        return { 'busy' }
      end
      return { 'elsewhere', held }
    end
  end
  redis.call('SET', key, shard .. '|' .. string.format('%.0f', now), 'PX', ttl_ms)
  return { 'claimed' }
end

local replies = { 'done' }
for i = 0, #ARGV - FIRST_REQUEST do
  local shard, looked_into = string.match(ARGV[FIRST_REQUEST + i], '^(%x+),(.*)$')
  replies[i + 2] = claim(KEYS[FIRST_CLAIM + i], shard, looked_into)
end
return replies
