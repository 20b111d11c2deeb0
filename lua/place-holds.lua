#!lua
--[[
  place-holds: place a batch of holds in one shard, each for itself: all of its items or none.
  KEYS[1]  epoch      string  the fence
  KEYS[2]  products   hash    counters and terms of sale
  KEYS[3]  holds      zset    id|record of live holds by expires_at in ms
  KEYS[4]  extended   hash    hold id -> its later expires_at in ms
  KEYS[5]  prepaid    zset    id|record of paid holds by expires_at in ms
  KEYS[6]  deadlines  zset    id|products of unpaid orders by pay_by in ms
  KEYS[7]  buyers     hash    product:customer -> units
  KEYS[8]  journal    stream  what PostgreSQL does not have yet
  KEYS[9]  bought     hash    product:customer -> units in orders paid before the last rebuild
  KEYS[10] idem...   string  one a keyed request: fingerprint|expires_at_ms|id|record
  ARGV[1] epoch
  ARGV[2] shard            as ids end: the shard, and what the installation is called
  ARGV[3] default_ttl_ms   for products without their own
  ARGV[4] idem_ttl_ms
  ARGV[5] max_entries      of the journal, above which nothing is granted
  ARGV[6] max_age_ms       of its oldest entry
  ARGV[7] requests...      a request: random|index of its idem key or 0|fingerprint|product:qty,...|customer
  Returns { status }, or { 'done', { status, ... } a request, in their order }
  Status, first match wins: fenced | journal_full | done
  Of a request: key_reused | replayed | not_found | sale_paused | sale_not_started | sale_ended | currency_mismatch | customer_required | limit_exceeded | backlog | unknown_buyer | insufficient_stock | placed
    replayed, placed    id|record, expires_at_ms
    not_found, sale_*   product
    limit_exceeded      product, limit
    unknown_buyer       product: tell by load-bought what the customer bought of it, and ask again; only where there are units
    insufficient_stock  product, reason (sold_out | all_held | too_many), available, retry_after_ms
    backlog             dead holds are still being taken back: ask again
]]
-- @include fence
-- @include clock
-- @include dead-holds
-- @include terms
-- @include backpressure
-- @include refusals
-- @include place
local keys = {
  epoch = KEYS[1], products = KEYS[2], holds = KEYS[3], extended = KEYS[4], prepaid = KEYS[5], deadlines = KEYS[6], buyers = KEYS[7],
  journal = KEYS[8], bought = KEYS[9],
}
local epoch, shard, default_ttl_ms, idem_ttl_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local max_entries, max_age_ms = tonumber(ARGV[5]), tonumber(ARGV[6])
local BEFORE_IDEM_KEYS, FIRST_REQUEST = 9, 7

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()
if journal_is_full(keys.journal, now, max_entries, max_age_ms) then
  return { 'journal_full' }
end
local replies = { 'done' }
local placed, placed_results = {}, {}
for at = FIRST_REQUEST, #ARGV do
  local request = read_request(ARGV[at])
  local idem_key = request.idem_index > 0 and KEYS[BEFORE_IDEM_KEYS + request.idem_index]
  local cart = cart_of(keys, request.lines, now, default_ttl_ms, shard)
  local reply = idem_key and find_result(placed_results[idem_key] or redis.call('GET', idem_key), request.fingerprint)
    or refuse(keys, cart, request, now, default_ttl_ms)
  if not reply then
    local score, member = place(keys, cart, request)
    placed[#placed + 1] = score
    placed[#placed + 1] = member
    if idem_key then
      placed_results[idem_key] = request.fingerprint .. '|' .. int(cart.expires_at_ms) .. '|' .. member
    end
    reply = { 'placed', member, cart.expires_at_ms }
  end
  replies[#replies + 1] = reply
end

drop_dead_holds(keys)
if #placed > 0 then
  redis.call('ZADD', keys.holds, unpack(placed))
end
for idem_key, result in pairs(placed_results) do
  redis.call('SET', idem_key, result, 'PX', idem_ttl_ms)
end
save_buyers(keys.buyers)
save_stock(keys.products)
return replies
