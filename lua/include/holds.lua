-- @include broken
-- The record of a hold, as text: items|currency|created_at_ms|ttl_ms|customer, an item being product:qty:unit_amount.
-- The customer comes last, since it may contain anything; empty means none.

-- "1:2:9900,4:1:500" as a list of { product, qty, unit_amount }.
local function parse_items(text)
  local items = {}
  for product, qty, unit_amount in string.gmatch(text, '(%d+):(%d+):(%d+)') do
    items[#items + 1] = { product = product, qty = tonumber(qty), unit_amount = tonumber(unit_amount) }
  end
  if #items == 0 then
    broken('a record has no items')
  end
  return items
end

local function format_items(items)
  local parts = {}
  for i, item in ipairs(items) do
    parts[i] = item.product .. ':' .. int(item.qty) .. ':' .. int(item.unit_amount)
  end
  return table.concat(parts, ',')
end

local function amount_of(items)
  local amount = 0
  for _, item in ipairs(items) do
    amount = amount + item.qty * item.unit_amount
  end
  return amount
end

local function parse_hold(record)
  local items, currency, created_at_ms, ttl_ms, customer = string.match(record, '^([^|]*)|([^|]*)|(%d+)|(%d+)|(.*)$')
  if not items then
    broken('a hold has no readable record')
  end
  return {
    items_text = items,
    items = parse_items(items),
    currency = currency,
    created_at_ms = tonumber(created_at_ms),
    ttl_ms = tonumber(ttl_ms),
    customer = customer,
  }
end

local RANDOM_CHARS = 16
local EXPIRY_CHARS = 11

-- An id carries 96 random bits, its hold's first expires_at in ms (11 hex digits) and its shard (hex).
local function make_id(random, expires_at_ms, shard)
  return random .. string.format('%011x', expires_at_ms) .. shard
end

-- What a hold is at this moment: its word, then for a live hold its record and expires_at in ms.
--   live | already_used | released | expired | not_found
-- A hold that is paid for stands in prepaid instead of expiry and lives until it is an order. An id that is not there
-- and past its first expires_at has expired; before that it was never given out.
local function find_hold(keys, id, now)
  local record = redis.call('HGET', keys.holds, id)
  if record then
    local expires_at_ms = redis.call('ZSCORE', keys.expiry, id)
    if expires_at_ms and now >= tonumber(expires_at_ms) then
      return 'expired'
    end
    expires_at_ms = expires_at_ms or redis.call('ZSCORE', keys.prepaid, id)
    if not expires_at_ms then
      broken('hold ' .. id .. ' has no expires_at')
    end
    return 'live', parse_hold(record), tonumber(expires_at_ms)
  end
  if redis.call('EXISTS', keys.order) == 1 then
    return 'already_used'
  end
  if redis.call('EXISTS', keys.released) == 1 then
    return 'released'
  end
  local first_expires_at_ms = tonumber(string.sub(id, RANDOM_CHARS + 1, RANDOM_CHARS + EXPIRY_CHARS), 16)
  if now >= first_expires_at_ms then
    return 'expired'
  end
  return 'not_found'
end
