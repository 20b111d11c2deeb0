#!lua flags=no-writes
--[[
  read-stock: products of one shard for those who follow them: as read-products, and when units of one that is all held may come back.
  KEYS[1] epoch      string  the fence
  KEYS[2] products   hash    counters and terms of sale
  KEYS[3] holds      zset    id|record of live holds by expires_at in ms
  KEYS[4] deadlines  zset    id|products of unpaid orders by pay_by in ms
  ARGV[1] epoch
  ARGV[2] default_ttl_ms  of holds on products that have no TTL of their own
  ARGV[3] product...      ids
  Returns { status }, or { 'done', now in ms, { next_chance_ms, field, ... } a product, in their order, {} where the shard does not know it }
    next_chance_ms  the first moment at which units may come back, '' unless all are held or pending
    fields          as read-products returns them
  Status, first match wins: fenced | done
]]
-- @include fence
-- @include clock
-- @include product-fields
-- @include wait
local keys = { epoch = KEYS[1], products = KEYS[2], holds = KEYS[3], deadlines = KEYS[4] }
local epoch, default_ttl_ms, FIRST_PRODUCT = ARGV[1], tonumber(ARGV[2]), 3

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()
local replies = { 'done', now }
for at = FIRST_PRODUCT, #ARGV do
  local product = ARGV[at]
  local reply = product_fields(keys.products, product)
  if #reply > 0 then
    local stock, next_chance_ms = find_stock(keys.products, product), ''
    if stock.available == 0 and stock.held + stock.pending > 0 then
      local ttl_ms = terms_of(keys.products, product, default_ttl_ms).hold_ttl_ms
      next_chance_ms = int(now + wait_ms(keys, product, now, ttl_ms))
    end
    table.insert(reply, 1, next_chance_ms)
  end
  replies[#replies + 1] = reply
end
return replies
