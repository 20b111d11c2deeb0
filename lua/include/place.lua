-- @include stock
-- @include holds
-- @include buyers
-- @include terms
-- One request of place-holds: reading it, and granting it once nothing refuses it.

-- A request as text: random|index of its idem key or 0|fingerprint|product:qty,...|customer.
local function read_request(text)
  local random, idem_index, fingerprint, lines, customer = string.match(text, '^([^|]*)|(%d+)|([^|]*)|([^|]*)|(.*)$')
  local items = {}
  for product, qty in string.gmatch(lines, '([^:,]+):([^,]+)') do
    items[#items + 1] = { product = product, qty = tonumber(qty) }
  end
  return { random = random, idem_index = tonumber(idem_index), fingerprint = fingerprint, items = items, customer = customer }
end

-- What a keyed request was answered before, or nil.
local function find_result(result, fingerprint)
  if not result then
    return nil
  end
  local known, expires_at_ms, member = string.match(result, '^([^|]*)|(%d+)|(.*)$')
  if known ~= fingerprint then
    return { 'key_reused' }
  end
  return { 'replayed', member, tonumber(expires_at_ms) }
end

-- Grants a request that nothing refuses: counters change in memory, the member comes back to be written.
-- A hold on several products lives as long as the shortest of their TTLs.
local function place(keys, request, now, default_ttl_ms, shard)
  local ttl_ms, currency
  local parts = {}
  for i, item in ipairs(request.items) do
    local terms = terms_of(keys.products, item.product, default_ttl_ms)
    currency = terms.currency
    ttl_ms = math.min(ttl_ms or terms.hold_ttl_ms, terms.hold_ttl_ms)
    parts[i] = item.product .. ':' .. int(item.qty) .. ':' .. terms.unit_amount_text
    move_stock(keys.products, item.product, 'available', 'held', item.qty)
    if terms.max_per_customer then
      count_units(keys.buyers, item.product, request.customer, item.qty)
    end
  end
  local id = make_id(request.random, now + ttl_ms, shard)
  local member = table.concat({ id, table.concat(parts, ','), currency, int(ttl_ms), request.customer }, '|')
  return { score = score_of(id, now + ttl_ms), member = member, expires_at_ms = now + ttl_ms }
end
