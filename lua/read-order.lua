#!lua flags=no-writes
--[[
  read-order: an order that Redis still has.
  KEYS[1] epoch  string  the fence
  KEYS[2] order  hash    the order
  ARGV[1] epoch
  ARGV[2] id
  Returns { status, ... }
  Status, first match wins: fenced | unknown_order | found
    found  order as text
]]
-- @include fence
-- @include orders
local keys = { epoch = KEYS[1], order = KEYS[2] }
local epoch, id = ARGV[1], ARGV[2]

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local order = find_order(keys.order)
if not order then
  return { 'unknown_order' }
end
return { 'found', order_text(order) }
