#!lua flags=allow-oom
--[[
  load-product: set a product's terms of sale, unless it has newer ones; its counters too where the shard does not know it yet.
  KEYS[1] epoch     string  the fence
  KEYS[2] products  hash    counters and terms of sale
  ARGV[1] epoch
  ARGV[2] product
  ARGV[3] total    units; '' where the shard must know it already
  ARGV[4] held     units under live holds
  ARGV[5] pending  units in unpaid orders
  ARGV[6] sold     units in paid orders; those of each customer are told by load-bought
  ARGV[7] version  of the terms
  ARGV[8] terms... field, value, ...; '' where a term is not set
  Returns { status }
  Status, first match wins: fenced | unknown | outdated | recount | updated | loaded
    unknown   there is no such product, and no total to begin with
    outdated  the shard has newer terms
    recount   max_per_customer is new to a product whose units were not counted by customer: only a rebuild can set it
]]
-- @include fence
-- @include stock
local keys = { epoch = KEYS[1], products = KEYS[2] }
local epoch, product, version, FIRST_TERM = ARGV[1], ARGV[2], tonumber(ARGV[7]), 8
local version_field = product .. ':terms_version'

local function is_limited()
  for at = FIRST_TERM, #ARGV, 2 do
    if ARGV[at] == 'max_per_customer' then
      return ARGV[at + 1] ~= ''
    end
  end
end

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local known = find_stock(keys.products, product)
if not known and ARGV[3] == '' then
  return { 'unknown' }
elseif known then
  local had = redis.call('HMGET', keys.products, version_field, product .. ':max_per_customer')
  if version < tonumber(had[1] or 0) then
    return { 'outdated' }
  elseif (had[2] or '') == '' and is_limited() and known.available < known.total then
    return { 'recount' }
  end
end
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
  if sold > 0 then
    redis.call('HSET', keys.products, product .. ':sold_before', int(sold))
  end
end
redis.call('HSET', keys.products, version_field, int(version))
for at = FIRST_TERM, #ARGV, 2 do
  redis.call('HSET', keys.products, product .. ':' .. ARGV[at], ARGV[at + 1])
end
return { known and 'updated' or 'loaded' }
