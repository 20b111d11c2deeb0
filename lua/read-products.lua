#!lua flags=no-writes
--[[
  read-products: products of one shard, their counters and terms, at one moment.
  KEYS[1] epoch     string  the fence
  KEYS[2] products  hash    counters and terms of sale
  ARGV[1] epoch
  ARGV[2] product...  ids
  Returns { status }, or { 'done', now in ms, { field, ... } a product, in their order, {} where the shard does not know it }
  Status, first match wins: fenced | done
    fields  name, unit_amount, currency, hold_ttl_ms, starts_at_ms, ends_at_ms, paused, max_per_hold, max_per_customer, available, held, pending, sold, total
]]
-- @include fence
-- @include clock
-- @include product-fields
local keys = { epoch = KEYS[1], products = KEYS[2] }
local epoch, FIRST_PRODUCT = ARGV[1], 2

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local replies = { 'done', clock_ms() }
for at = FIRST_PRODUCT, #ARGV do
  replies[#replies + 1] = product_fields(keys.products, ARGV[at])
end
return replies
