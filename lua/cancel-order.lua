#!lua flags=allow-oom
--[[
  cancel-order: cancel an unpaid order at its owner's wish; its units are free at once.
  KEYS[1] epoch      string  the fence
  KEYS[2] products   hash    counters and terms of sale
  KEYS[3] deadlines  zset    id|products of unpaid orders by pay_by in ms
  KEYS[4] buyers     hash    product:customer -> units
  KEYS[5] journal    stream  what PostgreSQL does not have yet
  KEYS[6] order      hash    the order
  ARGV[1] epoch
  ARGV[2] id
  Returns { status, ... }
  Status, first match wins: fenced | unknown_order | not_pending | cancelled
    cancelled  journal entry, order as text; again so while the first cancellation waits for PostgreSQL
  Journal: the order
]]
-- @include fence
-- @include holds
-- @include give-back
-- @include orders
local keys = { epoch = KEYS[1], products = KEYS[2], deadlines = KEYS[3], buyers = KEYS[4], journal = KEYS[5], order = KEYS[6] }
local epoch, id = ARGV[1], ARGV[2]

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local order = find_order(keys.order)
if not order then
  return { 'unknown_order' }
elseif order.cancel_reason == 'requested' and outstanding(keys.journal, order.entry) ~= '' then
  return { 'cancelled', order.entry, order_text(order) }
elseif not is_pending(order) then
  return { 'not_pending' }
end

give_back(keys, parse_items(order.items), order.customer, 'pending')
order.order_status, order.cancel_reason = 'cancelled', 'requested'
save_buyers(keys.buyers)
save_stock(keys.products)
local entry, record = save_order(keys, order, '')
return { 'cancelled', entry, record }
