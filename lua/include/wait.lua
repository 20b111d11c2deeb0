-- @include holds
-- @include stock
-- @include terms
-- How long a buyer waits for units of a product that is all held: until the first of its live holds or unpaid orders ends.
-- The ends of the shard are looked at in their order until one concerns the product. Past MAX of them the last one that was
-- looked at counts: what was not looked at ends later, so no wait is longer than it must be. What was seen serves all products
-- of the step, each of which is asked for once.
local FIRST_LOOK = 8 -- one of the first ends is most often of a product that many ask for
local MAX_ENDS = 256 -- some 0.2 ms
local wait_by_product = {}

-- Ends of live holds, from one place in their order: { ms, products as text }.
local function hold_ends(keys, now, from, count)
  local flat = redis.call('ZRANGE', keys.holds, int(now + 1), '+inf', 'BYSCORE', 'LIMIT', from, count, 'WITHSCORES')
  local ends = {}
  for i = 1, #flat, 2 do
    ends[#ends + 1] = { ms = math.floor(tonumber(flat[i + 1])), items = string.match(flat[i], '^[^|]*|([^|]*)') or '' }
  end
  return ends, '(%d+):%d+:%d+'
end

-- Ends of unpaid orders, overdue ones among them: those come back with the next sweep.
local function order_ends(keys, _, from, count)
  local flat, ends = redis.call('ZRANGE', keys.deadlines, from, from + count - 1, 'WITHSCORES'), {}
  for i = 1, #flat, 2 do
    ends[#ends + 1] = { ms = tonumber(flat[i + 1]), items = string.match(flat[i], '|(.*)$') }
  end
  return ends, '%d+'
end

local seen_holds = { read = hold_ends, first = {}, count = 0 }
local seen_orders = { read = order_ends, first = {}, count = 0 }

-- The first end that concerns a product, or one that is no later; nil where none does.
local function first_end(seen, keys, product, now)
  while not seen.first[product] and not seen.is_all and seen.count < MAX_ENDS do
    local count = seen.count == 0 and FIRST_LOOK or MAX_ENDS - seen.count
    local ends, pattern = seen.read(keys, now, seen.count, count)
    for _, one in ipairs(ends) do
      for other in string.gmatch(one.items, pattern) do
        seen.first[other] = seen.first[other] or one.ms
      end
      seen.last = one.ms
    end
    seen.count, seen.is_all = seen.count + #ends, #ends < count
  end
  return seen.first[product] or (not seen.is_all and seen.last or nil)
end

-- Holds that this very step has placed are not written yet: they end no sooner than the shortest TTL of its products.
local function shortest_ttl_ms(ttl_ms)
  for _, terms in pairs(terms_by_product) do
    ttl_ms = math.min(ttl_ms, terms.hold_ttl_ms)
  end
  return ttl_ms
end

-- In ms; `ttl_ms`, that of a new hold, where nothing is known to end: paid holds do not.
local function wait_ms(keys, product, now, ttl_ms)
  if not wait_by_product[product] then
    local stock = find_stock(keys.products, product)
    local soonest = stock.held > 0 and first_end(seen_holds, keys, product, now) or math.huge
    if stock.pending > 0 then
      soonest = math.min(soonest, first_end(seen_orders, keys, product, now) or math.huge)
    end
    if stock.changed then
      soonest = math.min(soonest, now + shortest_ttl_ms(ttl_ms))
    end
    wait_by_product[product] = soonest < math.huge and math.max(0, soonest - now) or ttl_ms
  end
  return wait_by_product[product]
end
