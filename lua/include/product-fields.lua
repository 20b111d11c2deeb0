-- @include stock
-- @include terms
-- What readers are told of a product: its name, terms and counters in this order, {} where the shard does not know it.
local function product_fields(products_key, product)
  if not find_stock(products_key, product) then
    return {}
  end
  local fields = { product .. ':name' }
  for _, term in ipairs(TERMS) do
    fields[#fields + 1] = product .. ':' .. term
  end
  for _, part in ipairs(PARTS) do
    fields[#fields + 1] = product .. ':' .. part
  end
  return redis.call('HMGET', products_key, unpack(fields))
end
