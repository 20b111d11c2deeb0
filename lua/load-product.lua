#!lua flags=allow-oom
--[[
  load-product: set a product's terms of sale; its counters too where the shard does not know it yet.
  KEYS[1] epoch     string  the fence
  KEYS[2] products  hash    counters and terms of sale
  ARGV[1] epoch
  ARGV[2] product
  ARGV[3] total    units
  ARGV[4] pending  units in unpaid orders
  ARGV[5] sold     units in paid orders
  ARGV[6] terms... field, value, ...; '' where a term is not set
  Returns { status }
  Status, first match wins: fenced | updated | loaded
]]
-- @include fence
-- @include stock
local keys = { epoch = KEYS[1], products = KEYS[2] }
local epoch, product, FIRST_TERM = ARGV[1], ARGV[2], 6

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local known = find_stock(keys.products, product)
if not known then
  local total, pending, sold = count_of(ARGV[3], 'total'), count_of(ARGV[4], 'pending'), count_of(ARGV[5], 'sold')
  if pending + sold > total then
    broken('product ' .. product .. ' has more committed units than its total')
  end
  stock_by_product[product] = { available = total - pending - sold, held = 0, pending = pending, sold = sold, total = total, changed = true }
  save_stock(keys.products)
end
for at = FIRST_TERM, #ARGV, 2 do
  redis.call('HSET', keys.products, product .. ':' .. ARGV[at], ARGV[at + 1])
end
return { known and 'updated' or 'loaded' }
