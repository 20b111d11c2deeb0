#!lua flags=allow-oom
--[[
  load-product: set a product's terms of sale; its counters too where the shard does not know it yet.
  KEYS[1] epoch     string  the fence
  KEYS[2] products  hash    counters and terms of sale
  ARGV[1] epoch
  ARGV[2] product
  ARGV[3] total    units
  ARGV[4] held     units under live holds
  ARGV[5] pending  units in unpaid orders
  ARGV[6] sold     units in paid orders
  ARGV[7] terms... field, value, ...; '' where a term is not set
  Returns { status }
  Status, first match wins: fenced | updated | loaded
]]
-- @include fence
-- @include stock
local keys = { epoch = KEYS[1], products = KEYS[2] }
local epoch, product, FIRST_TERM = ARGV[1], ARGV[2], 7

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local known = find_stock(keys.products, product)
if not known then
  local total, held = count_of(ARGV[3], 'total'), count_of(ARGV[4], 'held')
  local pending, sold = count_of(ARGV[5], 'pending'), count_of(ARGV[6], 'sold')
  local available = total - held - pending - sold
  if available < 0 then
    broken('product ' .. product .. ' has more units in holds and orders than its total')
  end
  stock_by_product[product] = {
    available = available, held = held, pending = pending, sold = sold, total = total, changed = true,
  }
  save_stock(keys.products)
end
for at = FIRST_TERM, #ARGV, 2 do
  redis.call('HSET', keys.products, product .. ':' .. ARGV[at], ARGV[at + 1])
end
return { known and 'updated' or 'loaded' }
