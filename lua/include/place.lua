-- @include cart
-- @include buyers
-- One request of place-holds: reading it, and granting it once nothing refuses it.

-- A request as text: random|index of its idem key or 0|fingerprint|product:qty,...|customer.
local function read_request(text)
  local random, idem_index, fingerprint, lines, customer = string.match(text, '^([^|]*)|(%d+)|([^|]*)|([^|]*)|(.*)$')
  return { random = random, idem_index = tonumber(idem_index), fingerprint = fingerprint, lines = lines, customer = customer }
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

-- Grants a request that nothing refuses: counters change in memory; score and member come back to be written.
local function place(keys, cart, request)
  for _, item in ipairs(cart.items) do
    move_stock(keys.products, item.product, 'available', 'held', item.qty)
    if item.is_counted then
      count_units(keys.buyers, item.product, request.customer, item.qty)
    end
  end
  local id = request.random .. cart.id_end
  return cart.score_start .. score_digits(id), id .. '|' .. cart.record .. request.customer
end
