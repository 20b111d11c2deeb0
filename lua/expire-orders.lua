#!lua flags=allow-oom
--[[
  expire-orders: cancel orders that are unpaid at their pay_by and give back their units.
  KEYS[1] epoch      string  the fence
  KEYS[2] products   hash    counters and terms of sale
  KEYS[3] deadlines  zset    id|products of unpaid orders by pay_by in ms
  KEYS[4] buyers     hash    product:customer -> units
  KEYS[5] journal    stream  what PostgreSQL does not have yet
  KEYS[6] order...   hash    one an id
  ARGV[1] epoch
  ARGV[2] ids...  of unpaid orders; those whose pay_by has not come are left alone
  Returns { status }, or { 'done', how many of the ids have no order, { journal entry, order as text } an expired order }
  Status, first match wins: fenced | done
  Journal: the order
]]
-- @include fence
-- @include clock
-- @include holds
-- @include give-back
-- @include orders
local keys = { epoch = KEYS[1], products = KEYS[2], deadlines = KEYS[3], buyers = KEYS[4], journal = KEYS[5] }
local epoch, FIRST_ORDER_KEY, FIRST_ID = ARGV[1], 6, 2

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()
local due, seen, lost = {}, {}, 0
for i = 0, #ARGV - FIRST_ID do
  local order_key, id = KEYS[FIRST_ORDER_KEY + i], ARGV[FIRST_ID + i]
  local order = find_order(order_key)
  if not order then
    lost = lost + 1
  elseif not seen[id] and is_pending(order) and now >= tonumber(order.pay_by_ms) then
    give_back(keys, parse_items(order.items), order.customer, 'pending')
    order.payment_status, order.order_status, order.cancel_reason = 'failed', 'cancelled', 'payment_timeout'
    seen[id] = true
    due[#due + 1] = { id = id, key = order_key, order = order }
  end
end

local replies = { 'done', lost }
for _, one in ipairs(due) do
  keys.order = one.key
  local entry, record = save_order(keys, one.order, '')
  replies[#replies + 1] = { entry, record }
end
save_buyers(keys.buyers)
save_stock(keys.products)
return replies
