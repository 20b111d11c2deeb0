-- The terms of sale of a product, read once in a step; find_stock() has shown that the product is there.
local TERMS = { 'unit_amount', 'currency', 'hold_ttl_ms', 'starts_at_ms', 'ends_at_ms', 'paused', 'max_per_hold', 'max_per_customer' }
local terms_by_product = {}

local function terms_of(products_key, product, default_ttl_ms)
  local terms = terms_by_product[product]
  if terms then
    return terms
  end
  local fields = {}
  for i, term in ipairs(TERMS) do
    fields[i] = product .. ':' .. term
  end
  local values = redis.call('HMGET', products_key, unpack(fields))
  terms = {
    unit_amount_text = int(count_of(values[1], fields[1])),
    currency = values[2],
    hold_ttl_ms = tonumber(values[3]) or default_ttl_ms,
    starts_at_ms = tonumber(values[4]),
    ends_at_ms = tonumber(values[5]),
    paused = values[6] == '1',
    max_per_hold = tonumber(values[7]),
    max_per_customer = tonumber(values[8]),
  }
  terms_by_product[product] = terms
  return terms
end
