#!lua flags=allow-oom
--[[
  release-hold: end a live hold at its owner's wish; its units are free at once.
  KEYS[1]  epoch            string  the fence
  KEYS[2]  products         hash    counters and terms of sale
  KEYS[3]  holds            zset    id|record of live holds by expires_at in ms
  KEYS[4]  extended         hash    hold id -> its later expires_at in ms
  KEYS[5]  prepaid          zset    id|record of paid holds by expires_at in ms
  KEYS[6]  buyers           hash    product:customer -> units
  KEYS[7]  journal          stream  what PostgreSQL does not have yet
  KEYS[8]  parked           zset    order id of parked payments by their deadline in ms
  KEYS[9]  order            hash    the order
  KEYS[10] released         string  entry|customer; there while a released hold is remembered
  KEYS[11] parked_payments  hash    payments that came before this order
  ARGV[1] epoch
  ARGV[2] id
  Returns { status, ... }
  Status, first match wins: fenced | already_used | already_released | not_found | expired | released
    already_released, released  journal entry of the payments that are now due for refund, or ''
                                payments as JSON, or '' (released)
  Journal: parked payments that lost their order
]]
-- @include fence
-- @include clock
-- @include holds
-- @include parked
local keys = {
  epoch = KEYS[1], products = KEYS[2], holds = KEYS[3], extended = KEYS[4], prepaid = KEYS[5], buyers = KEYS[6], journal = KEYS[7],
  parked = KEYS[8], order = KEYS[9], released = KEYS[10], parked_payments = KEYS[11],
}
local epoch, id = ARGV[1], ARGV[2]

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()
local state, hold = find_hold(keys, id, now)
if state == 'released' then
  local known_entry = string.match(redis.call('GET', keys.released), '^[^|]*')
  return { 'already_released', outstanding(keys.journal, known_entry), '' }
elseif state ~= 'live' then
  return { state }
end

give_back(keys, hold.items, hold.customer, 'held')
remove_hold(keys, hold)
save_buyers(keys.buyers)
save_stock(keys.products)
local entry, payments_json = give_up_parked(keys, id, 'hold_released')
redis.call('SET', keys.released, entry .. '|' .. hold.customer, 'PXAT', int(math.max(hold.expires_at_ms, now + 1)))
return { 'released', entry, payments_json }
