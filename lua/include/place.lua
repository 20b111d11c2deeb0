-- @include stock
-- @include buyers
-- @include terms
-- One request of place-holds: reading it, and granting it once nothing refuses it.

-- Reads the request that starts at ARGV[at]. Returns it and where the next one starts.
local function read_request(at)
  local request = {
    random = ARGV[at],
    idem_index = tonumber(ARGV[at + 1]),
    fingerprint = ARGV[at + 2],
    customer = ARGV[at + 3],
    items = {},
  }
  local items_at, count = at + 5, tonumber(ARGV[at + 4])
  for i = 1, count do
    request.items[i] = { product = ARGV[items_at + i * 2 - 2], qty = tonumber(ARGV[items_at + i * 2 - 1]) }
  end
  return request, items_at + count * 2
end

-- What a keyed request was answered before, or nil.
local function find_result(result, fingerprint)
  if not result then
    return nil
  end
  local known, id, expires_at_ms, record = string.match(result, '^([^|]*)|([^|]*)|(%d+)|(.*)$')
  if known ~= fingerprint then
    return { 'key_reused' }
  end
  return { 'replayed', id, tonumber(expires_at_ms), record }
end

-- Grants a request that nothing refuses: counters change in memory, the record comes back to be written.
-- A hold on several products lives as long as the shortest of their TTLs.
local function place(keys, request, now, default_ttl_ms)
  local ttl_ms, currency
  for _, item in ipairs(request.items) do
    local terms = terms_of(keys.products, item.product, default_ttl_ms)
    item.unit_amount = terms.unit_amount
    currency = terms.currency
    ttl_ms = math.min(ttl_ms or terms.hold_ttl_ms, terms.hold_ttl_ms)
    move_stock(keys.products, item.product, 'available', 'held', item.qty)
    if terms.max_per_customer then
      count_units(keys.buyers, item.product, request.customer, item.qty)
    end
  end
  local record = table.concat({ format_items(request.items), currency, int(now), int(ttl_ms), request.customer }, '|')
  return { record = record, expires_at_ms = now + ttl_ms }
end
