#!lua
--[[
  place-holds: place a batch of holds in one shard, each for itself: all of its items or none.
  KEYS[1] epoch      string  the fence
  KEYS[2] products   hash    counters and terms of sale
  KEYS[3] holds      hash    hold id -> record
  KEYS[4] expiry     zset    hold id by expires_at in ms
  KEYS[5] deadlines  zset    id|products of unpaid orders by pay_by in ms
  KEYS[6] buyers     hash    product:customer -> units
  KEYS[7] journal    stream  what PostgreSQL does not have yet
  KEYS[8] idem...    string  one a keyed request: fingerprint|id|expires_at_ms|record
  ARGV[1] epoch
  ARGV[2] shard            as it ends an id
  ARGV[3] default_ttl_ms   for products without their own
  ARGV[4] idem_ttl_ms
  ARGV[5] max_entries      of the journal, above which nothing is granted
  ARGV[6] max_age_ms       of its oldest entry
  ARGV[7] requests...      a request: random, index of its idem key or 0, fingerprint, customer, number of items, then product, qty of each
  Returns { status }, or { 'done', { status, ... } a request, in their order }
  Status, first match wins: fenced | journal_full | done
  Of a request: key_reused | replayed | not_found | sale_paused | sale_not_started | sale_ended | currency_mismatch | customer_required | limit_exceeded | backlog | insufficient_stock | placed
    replayed, placed    id, expires_at_ms, record
    not_found, sale_*   product
    limit_exceeded      product, limit
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
  epoch = KEYS[1], products = KEYS[2], holds = KEYS[3], expiry = KEYS[4], deadlines = KEYS[5], buyers = KEYS[6], journal = KEYS[7],
}
local epoch, shard, default_ttl_ms, idem_ttl_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local max_entries, max_age_ms = tonumber(ARGV[5]), tonumber(ARGV[6])
local BEFORE_IDEM_KEYS, FIRST_REQUEST = 7, 7

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()
if journal_is_full(keys.journal, now, max_entries, max_age_ms) then
  return { 'journal_full' }
end
local replies = { 'done' }
local placed_records, placed_expiries, placed_results = {}, {}, {}
local next_arg = FIRST_REQUEST
while next_arg <= #ARGV do
  local request
  request, next_arg = read_request(next_arg)
  local idem_key = request.idem_index > 0 and KEYS[BEFORE_IDEM_KEYS + request.idem_index]
  local reply = idem_key and find_result(placed_results[idem_key] or redis.call('GET', idem_key), request.fingerprint)
    or refuse(keys, request, now, default_ttl_ms)
  if not reply then
    local hold = place(keys, request, now, default_ttl_ms)
    local id = make_id(request.random, hold.expires_at_ms, shard)
    placed_records[#placed_records + 1] = id
    placed_records[#placed_records + 1] = hold.record
    placed_expiries[#placed_expiries + 1] = hold.expires_at_ms
    placed_expiries[#placed_expiries + 1] = id
    if idem_key then
      placed_results[idem_key] = request.fingerprint .. '|' .. id .. '|' .. int(hold.expires_at_ms) .. '|' .. hold.record
    end
    reply = { 'placed', id, hold.expires_at_ms, hold.record }
  end
  replies[#replies + 1] = reply
end

drop_dead_holds(keys)
if #placed_records > 0 then
  redis.call('HSET', keys.holds, unpack(placed_records))
  redis.call('ZADD', keys.expiry, unpack(placed_expiries))
end
for idem_key, result in pairs(placed_results) do
  redis.call('SET', idem_key, result, 'PX', idem_ttl_ms)
end
save_buyers(keys.buyers)
save_stock(keys.products)
return replies
