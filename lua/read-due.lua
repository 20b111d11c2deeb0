#!lua flags=no-writes
--[[
  read-due: name what is due in a shard, a bounded number of it, what has been due longest first.
  KEYS[1] epoch      string  the fence
  KEYS[2] prepaid    zset    id|record of paid holds by expires_at in ms
  KEYS[3] deadlines  zset    id|products of unpaid orders by pay_by in ms
  KEYS[4] parked     zset    order id of parked payments by their deadline in ms
  ARGV[1] epoch
  ARGV[2] set    prepaid, deadlines or parked
  ARGV[3] limit
  Returns { status, ... }
  Status, first match wins: fenced | done
    done  members of the set
]]
-- @include fence
-- @include clock
-- @include broken
local keys = { epoch = KEYS[1], prepaid = KEYS[2], deadlines = KEYS[3], parked = KEYS[4] }
local epoch, set, limit = ARGV[1], keys[ARGV[2]], ARGV[3]

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local due_before = '(' .. int(clock_ms() + 1)
return { 'done', unpack(redis.call('ZRANGE', set, '-inf', due_before, 'BYSCORE', 'LIMIT', 0, limit)) }
