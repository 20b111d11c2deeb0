#!lua flags=allow-oom
--[[
  create-order: turn a live hold into an order, once, and apply the payments that came before it.
  KEYS[1]  epoch            string  the fence
  KEYS[2]  products         hash    counters and terms of sale
  KEYS[3]  holds            zset    id|record of live holds by expires_at in ms
  KEYS[4]  extended         hash    hold id -> its later expires_at in ms
  KEYS[5]  prepaid          zset    id|record of paid holds by expires_at in ms
  KEYS[6]  deadlines        zset    id|products of unpaid orders by pay_by in ms
  KEYS[7]  buyers           hash    product:customer -> units
  KEYS[8]  journal          stream  what PostgreSQL does not have yet
  KEYS[9]  parked           zset    order id of parked payments by their deadline in ms
  KEYS[10] order            hash    the order
  KEYS[11] released         string  there while a released hold is remembered
  KEYS[12] parked_payments  hash    payments that came before this order
  KEYS[13] idem             string  fingerprint|entry|order; there only for a keyed request
  ARGV[1] epoch
  ARGV[2] id
  ARGV[3] pay_ttl_ms
  ARGV[4] fingerprint
  ARGV[5] idem_ttl_ms
  ARGV[6] mark         key and fingerprint of a keyed request, or ''; the order keeps it, for when idem is lost with Redis
  Returns { status, ... }
  Status, first match wins: fenced | key_reused | replayed | already_used | released | not_found | expired | created
    replayed, created  journal entry ('' once it is committed), order as JSON, payments as JSON
  Journal: the order and the payments that were applied
]]
-- @include fence
-- @include clock
-- @include holds
-- @include parked
local keys = {
  epoch = KEYS[1], products = KEYS[2], holds = KEYS[3], extended = KEYS[4], prepaid = KEYS[5], deadlines = KEYS[6], buyers = KEYS[7],
  journal = KEYS[8], parked = KEYS[9], order = KEYS[10], released = KEYS[11], parked_payments = KEYS[12], idem = KEYS[13],
}
local epoch, id, pay_ttl_ms, fingerprint, idem_ttl_ms, mark = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local result = keys.idem and redis.call('GET', keys.idem)
if result then
  local known, entry, json = string.match(result, '^([^|]*)|([^|]*)|(.*)$')
  if known ~= fingerprint then
    return { 'key_reused' }
  end
  return { 'replayed', outstanding(keys.journal, entry), json, '' }
end
local now = clock_ms()
local state, hold = find_hold(keys, id, now)
if state == 'already_used' and mark ~= '' then
  local known = find_order(keys.order)
  if known.idem == mark then
    return { 'replayed', outstanding(keys.journal, known.entry), order_json(id, known), '' }
  end
end
if state ~= 'live' then
  return { state }
end

local order = {
  version = '0', payment_status = 'pending', order_status = 'pre-payment', cancel_reason = '', items = hold.items_text,
  amount = int(amount_of(hold.items)), currency = hold.currency, customer = hold.customer, created_at_ms = int(now),
  pay_by_ms = int(now + pay_ttl_ms), hold_created_at_ms = int(hold.created_at_ms), hold_expires_at_ms = int(hold.expires_at_ms), idem = mark,
  entry = '',
}
move_items(keys, hold.items, 'held', 'pending')
local records, payments = {}, parked_payments(keys.parked_payments)
for i, payment in ipairs(payments) do
  local outcome, reason = settle(keys, order, hold.items, payment, now)
  records[i] = payment_record(id, payment, outcome, 'parked', reason)
end

remove_hold(keys, hold)
if #payments > 0 then
  drop_parked(keys, id)
end
drop_dead_holds(keys)
save_buyers(keys.buyers)
save_stock(keys.products)
local payments_json = #records > 0 and cjson.encode(records) or ''
local entry, json = save_order(keys, id, order, payments_json)
for _, payment in ipairs(payments) do
  remember_payment(keys, payment, 'parked', entry)
end
if keys.idem then
  redis.call('SET', keys.idem, fingerprint .. '|' .. entry .. '|' .. json, 'PX', idem_ttl_ms)
end
return { 'created', entry, json, payments_json }
