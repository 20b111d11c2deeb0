#!lua flags=allow-oom
--[[
  expire-orders: cancel orders that are unpaid at their pay_by and give back their units.
  KEYS[1] epoch      string  the fence
  KEYS[2] products   hash    counters and terms of sale
  KEYS[3] deadlines  zset    id|products of unpaid orders by pay_by in ms
  KEYS[4] buyers     hash    product:customer -> units
  KEYS[5] journal    stream  what PostgreSQL does not have yet
  KEYS[6] order...   hash    one a member
  ARGV[1] epoch
  ARGV[2] members...  of the deadlines; those whose pay_by has not come are left alone
  Returns { status }, or { 'done', { status, ... } a member, in their order }
  Status, first match wins: fenced | done
  Of a request: lost | left | expired
    lost     there is no order, or none that can be read
    left     it is not due, not unpaid any more, or named twice
    expired  journal entry, order as text
  Journal: the order
]]
-- @include fence
-- @include clock
-- @include holds
-- @include give-back
-- @include orders
local keys = { epoch = KEYS[1], products = KEYS[2], deadlines = KEYS[3], buyers = KEYS[4], journal = KEYS[5] }
local epoch, FIRST_ORDER_KEY, FIRST_MEMBER = ARGV[1], 6, 2

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end

local function read_order(order_key)
  local order = find_order(order_key)
  return order, parse_items(order.items), tonumber(order.pay_by_ms) or broken('an order has no pay_by')
end

local now = clock_ms()
local due, seen, over, replies = {}, {}, {}, { 'done' }
for i = 0, #ARGV - FIRST_MEMBER do
  local order_key, member = KEYS[FIRST_ORDER_KEY + i], ARGV[FIRST_MEMBER + i]
  local is_readable, order, items, pay_by_ms = pcall(read_order, order_key)
  replies[i + 2] = { is_readable and 'left' or 'lost' }
  if is_readable and not seen[order_key] and is_pending(order) and now >= pay_by_ms then
    give_back(keys, items, order.customer, 'pending')
    order.payment_status, order.order_status, order.cancel_reason = 'failed', 'cancelled', 'payment_timeout'
    seen[order_key] = true
    due[#due + 1] = { at = i + 2, key = order_key, order = order }
  elseif is_readable and not is_pending(order) then
    over[#over + 1] = member
  end
end

if #over > 0 then
  redis.call('ZREM', keys.deadlines, unpack(over)) -- they would stand before others for ever
end
for _, one in ipairs(due) do
  keys.order = one.key
  replies[one.at] = { 'expired', save_order(keys, one.order, '') }
end
save_buyers(keys.buyers)
save_stock(keys.products)
return replies
