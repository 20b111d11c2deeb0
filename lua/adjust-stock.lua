#!lua
--[[
  adjust-stock: add units to a product, or take free ones out of its sale.
  KEYS[1] epoch     string  the fence
  KEYS[2] products  hash    counters and terms of sale
  KEYS[3] holds     zset    id|record of live holds by expires_at in ms
  KEYS[4] extended  hash    hold id -> its later expires_at in ms
  KEYS[5] buyers    hash    product:customer -> units
  KEYS[6] journal   stream  what PostgreSQL does not have yet
  KEYS[7] idem      string  delta|epoch|journal entry
  ARGV[1] epoch
  ARGV[2] product
  ARGV[3] delta        units, may be negative
  ARGV[4] key          idempotency key
  ARGV[5] reason
  ARGV[6] idem_ttl_ms
  ARGV[7] max_amount   units, and their worth, that can be counted
  Returns { status, ... }
  Status, first match wins: fenced | key_reused | replayed | not_found | too_much | backlog | stock_in_use | adjusted
    replayed      journal entry ('' once it is committed)
    too_much      the product would have more units, or be worth more, than max_amount
    backlog       dead holds are still being taken back: ask again
    stock_in_use  available
    adjusted      journal entry, adjustment as JSON
  Journal: the adjustment
]]
-- @include fence
-- @include clock
-- @include dead-holds
-- @include orders
-- @include terms
local keys = {
  epoch = KEYS[1], products = KEYS[2], holds = KEYS[3], extended = KEYS[4], buyers = KEYS[5], journal = KEYS[6], idem = KEYS[7],
}
local epoch, product, delta, key, reason, idem_ttl_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local max_amount = tonumber(ARGV[7])
local MAX_DEAD_HOLDS = 125 -- a step stays under 2 ms

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local result = redis.call('GET', keys.idem)
local known, made_in, known_entry = string.match(result or '', '^([^|]*)|(%d+)|(.*)$')
if is_of_this_epoch(made_in) then -- PostgreSQL was asked for those of earlier ones
  if tonumber(known) ~= delta then
    return { 'key_reused' }
  end
  return { 'replayed', outstanding(keys.journal, known_entry) }
end
local now = clock_ms()
local stock = find_stock(keys.products, product)
if not stock then
  return { 'not_found' }
end
local total = stock.total + delta
if delta > 0 and (total > max_amount or total * tonumber(terms_of(keys.products, product, 0).unit_amount_text) > max_amount) then
  return { 'too_much' }
elseif stock.available + delta < 0 then
  take_dead_holds(keys, now, MAX_DEAD_HOLDS)
end
local refused = stock.available + delta < 0
if not refused then
  adjust_total(keys.products, product, delta)
end

drop_dead_holds(keys)
save_buyers(keys.buyers)
save_stock(keys.products)
if refused then
  return dead_are_more and { 'backlog' } or { 'stock_in_use', stock.available }
end
local json = cjson.encode({
  product = product, delta = int(delta), idempotency_key = key, reason = reason, created_at_ms = int(now),
})
local entry = redis.call('XADD', keys.journal, '*', 'order', '', 'payments', '', 'adjustment', json)
redis.call('SET', keys.idem, table.concat({ int(delta), step_epoch, entry }, '|'), 'PX', idem_ttl_ms)
return { 'adjusted', entry, json }
