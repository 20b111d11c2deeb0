-- @include holds
-- @include stock
-- @include terms
-- What a request asks for. Many buyers ask for the same, so whatever depends on its lines alone is worked out once a step.
local cart_by_lines = {}

-- Why nobody can hold these products now, or nil.
local function refuse_terms(keys, items, now, default_ttl_ms)
  for _, item in ipairs(items) do
    if not find_stock(keys.products, item.product) then
      return { 'not_found', item.product }
    end
  end
  for _, item in ipairs(items) do
    local terms = terms_of(keys.products, item.product, default_ttl_ms)
    if terms.paused then
      return { 'sale_paused', item.product }
    elseif terms.starts_at_ms and now < terms.starts_at_ms then
      return { 'sale_not_started', item.product }
    elseif terms.ends_at_ms and now >= terms.ends_at_ms then
      return { 'sale_ended', item.product }
    end
  end
  local currency = terms_of(keys.products, items[1].product, default_ttl_ms).currency
  for _, item in ipairs(items) do
    if terms_of(keys.products, item.product, default_ttl_ms).currency ~= currency then
      return { 'currency_mismatch', item.product }
    end
  end
end

-- The part of a hold that its cart gives: its record without the customer, its end. A hold on several products lives as long as
-- the shortest of their TTLs.
local function prepare(keys, cart, now, default_ttl_ms, shard)
  local parts, ttl_ms, currency = {}, nil, nil
  for i, item in ipairs(cart.items) do
    local terms = terms_of(keys.products, item.product, default_ttl_ms)
    parts[i] = item.product .. ':' .. int(item.qty) .. ':' .. terms.unit_amount_text
    ttl_ms = math.min(ttl_ms or terms.hold_ttl_ms, terms.hold_ttl_ms)
    currency = terms.currency
    item.is_counted = terms.max_per_customer ~= nil
    cart.is_limited = cart.is_limited or item.is_counted or terms.max_per_hold ~= nil
  end
  cart.record = table.concat({ table.concat(parts, ','), currency, int(ttl_ms), '' }, '|')
  cart.expires_at_ms = now + ttl_ms
  cart.id_end = id_end(cart.expires_at_ms, shard)
  cart.score_start = score_start(cart.expires_at_ms)
end

-- The cart of lines, `product:qty,...`. `refusal` says why nobody gets it now.
local function cart_of(keys, lines, now, default_ttl_ms, shard)
  local cart = cart_by_lines[lines]
  if cart then
    return cart
  end
  cart = { items = {} }
  for product, qty in string.gmatch(lines, '([^:,]+):([^,]+)') do
    cart.items[#cart.items + 1] = { product = product, qty = tonumber(qty) }
  end
  cart.refusal = refuse_terms(keys, cart.items, now, default_ttl_ms)
  if not cart.refusal then
    prepare(keys, cart, now, default_ttl_ms, shard)
  end
  cart_by_lines[lines] = cart
  return cart
end
