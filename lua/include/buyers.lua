-- @include broken
-- Units a customer has in holds and orders, for products with max_per_customer: read on first use, written by save_buyers().
local units_by_buyer = {}

local function units_of(buyers_key, product, customer)
  local buyer = product .. ':' .. customer
  if not units_by_buyer[buyer] then
    units_by_buyer[buyer] = { count = count_of(redis.call('HGET', buyers_key, buyer) or 0, 'units of a buyer') }
  end
  return units_by_buyer[buyer].count
end

-- Units placed while the product had no limit were never counted, so giving them back may not go below zero.
local function count_units(buyers_key, product, customer, delta)
  local count = units_of(buyers_key, product, customer)
  local units = units_by_buyer[product .. ':' .. customer]
  units.count = math.max(0, count + delta)
  units.changed = units.changed or units.count ~= count
end

local had_sold = {}

-- Units a customer had in paid orders when the shard was rebuilt, which are not counted among those above; nil where PostgreSQL has yet
-- to be asked, which is for the first hold of each customer. Of a product that had sold none nobody needs to ask.
local function units_before(keys, product, customer)
  if had_sold[product] == nil then
    had_sold[product] = redis.call('HEXISTS', keys.products, product .. ':sold_before') == 1
  end
  if not had_sold[product] then
    return 0
  end
  local units = redis.call('HGET', keys.bought, product .. ':' .. customer)
  return units and count_of(units, 'units that a buyer had')
end

local function save_buyers(buyers_key)
  for buyer, units in pairs(units_by_buyer) do
    if units.changed and units.count > 0 then
      redis.call('HSET', buyers_key, buyer, int(units.count))
    elseif units.changed then
      redis.call('HDEL', buyers_key, buyer)
    end
    units.changed = false
  end
end
