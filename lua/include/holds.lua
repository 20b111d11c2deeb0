-- @include broken
-- @include orders
-- A live hold is one member of a sorted set, `id|record` by expires_at; one that is paid for stands in a set of its own, prepaid.
-- The record is text: items|currency|ttl_ms|customer, an item being product:qty:unit_amount. The customer comes last, since it
-- may contain anything; empty means none.
local RANDOM_CHARS = 16
local EXPIRY_CHARS = 11

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

local function amount_of(items)
  local amount = 0
  for _, item in ipairs(items) do
    amount = amount + item.qty * item.unit_amount
  end
  return amount
end

-- An id carries 96 random bits, its hold's first expires_at in ms (11 hex digits), its shard (hex) and its installation.
local function id_end(expires_at_ms, shard)
  return string.format('%011x', expires_at_ms) .. shard
end

local function first_expires_at_ms(id)
  return tonumber(string.sub(id, RANDOM_CHARS + 1, RANDOM_CHARS + EXPIRY_CHARS), 16)
end

-- The score of a hold: expires_at in ms, and behind the point three digits that its id gives. So one of the thousands that may
-- end in one millisecond is found without a look at the others.
local function score_start(expires_at_ms)
  return string.format('%d.', expires_at_ms)
end

local function score_digits(id)
  local first, second = string.byte(id, 1, 2)
  return string.format('%03d', (first * 64 + second) % 1000)
end

local function score_of(id, expires_at_ms)
  return score_start(expires_at_ms) .. score_digits(id)
end

local function parse_hold(member)
  local id, items, currency, ttl_ms, customer = string.match(member, '^([^|]*)|([^|]*)|([^|]*)|(%d+)|(.*)$')
  if not id then
    broken('a hold has no readable record')
  end
  return {
    id = id, member = member, items_text = items, items = parse_items(items), currency = currency, ttl_ms = tonumber(ttl_ms),
    customer = customer, created_at_ms = first_expires_at_ms(id) - tonumber(ttl_ms),
  }
end

local function hold_at(key, id, expires_at_ms)
  local score, start = score_of(id, expires_at_ms), id .. '|'
  for _, member in ipairs(redis.call('ZRANGE', key, score, score, 'BYSCORE')) do
    if string.sub(member, 1, #start) == start then
      local hold = parse_hold(member)
      hold.key, hold.expires_at_ms = key, expires_at_ms
      return hold
    end
  end
end

-- A hold that stands in the shard, dead or alive, or nil: where its id says, or where `extended` says.
local function stored_hold(keys, id)
  local first_ms = first_expires_at_ms(id)
  local hold = hold_at(keys.holds, id, first_ms) or hold_at(keys.prepaid, id, first_ms)
  local later_ms = not hold and tonumber(redis.call('HGET', keys.extended, id) or '')
  if later_ms then
    hold = hold_at(keys.holds, id, later_ms) or hold_at(keys.prepaid, id, later_ms)
  end
  return hold
end

-- What a hold is at this moment: its word, then a live hold itself.
--   live | already_used | released | expired | not_found
-- A hold that is paid for lives until it is an order. An id that is not there and past its first expires_at has expired;
-- before that it was never given out.
local function find_hold(keys, id, now)
  local hold = stored_hold(keys, id)
  if hold then
    if hold.key == keys.holds and now >= hold.expires_at_ms then
      return 'expired'
    end
    return 'live', hold
  elseif has_order(keys.order) then
    return 'already_used'
  elseif redis.call('EXISTS', keys.released) == 1 then
    return 'released'
  end
  return now >= first_expires_at_ms(id) and 'expired' or 'not_found'
end

local function remove_hold(keys, hold)
  if hold.expires_at_ms ~= first_expires_at_ms(hold.id) then
    redis.call('HDEL', keys.extended, hold.id)
  end
  redis.call('ZREM', hold.key, hold.member)
end
