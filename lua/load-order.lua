#!lua flags=allow-oom
--[[
  load-order: bring back an order that Redis has forgotten, with the payments it has seen. Its units are counted already.
  KEYS[1] epoch      string  the fence
  KEYS[2] deadlines  zset    id|products of unpaid orders by pay_by in ms
  KEYS[3] order      hash    the order
  ARGV[1] epoch
  ARGV[2] id
  ARGV[3] fields...  field, value, ... of its hash: the order as text, payments and their transactions
  Returns { status }
  Status, first match wins: fenced | known | loaded
]]
-- @include fence
-- @include orders
local keys = { epoch = KEYS[1], deadlines = KEYS[2], order = KEYS[3] }
local epoch, id, FIRST_FIELD = ARGV[1], ARGV[2], 3
local MAX_ARGS = 1000 -- unpack() has room for some thousands

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
elseif redis.call('TYPE', keys.order).ok == 'hash' and has_order(keys.order) then
  return { 'known' }
end
redis.call('DEL', keys.order)
for at = FIRST_FIELD, #ARGV, MAX_ARGS do
  redis.call('HSET', keys.order, unpack(ARGV, at, math.min(at + MAX_ARGS - 1, #ARGV)))
end
redis.call('HSET', keys.order, 'epoch', step_epoch)
local order = find_order(keys.order)
if is_pending(order) then
  redis.call('ZADD', keys.deadlines, order.pay_by_ms, deadline_of(id, order.items))
else
  redis.call('PEXPIRE', keys.order, FINAL_ORDER_TTL_MS)
end
return { 'loaded' }
