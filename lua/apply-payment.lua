#!lua flags=allow-oom
--[[
  apply-payment: let a payment have its one effect on its order, or park it until the order comes.
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
  KEYS[13] payment          string  order id that this idempotency key was used for
  ARGV[1] epoch
  ARGV[2] id
  ARGV[3] may_park       1 once PostgreSQL was asked and does not know the order
  ARGV[4] park_ttl_ms    how long a payment waits for an order that nobody holds units for
  ARGV[5] key_ttl_ms     how long `payment` is remembered
  ARGV[6] key            idempotency key
  ARGV[7] payment_status success | failed
  ARGV[8] amount         '' where the sender names none
  ARGV[9] currency       likewise
  ARGV[10] method        likewise
  ARGV[11] transaction   likewise
  ARGV[12] is_once       1 where the sender announces one transaction by several notices: only the first of them counts
  Returns { status, ... }
  Status, first match wins: fenced | key_reused | duplicate | unknown_order | backlog | parked | applied | ignored | refund_due
    duplicate                      first outcome, journal entry ('' once it is committed), order as text or ''
    backlog                        dead holds are still being taken back: ask again
    parked                         journal entry, '', payments as JSON
    applied, ignored, refund_due   journal entry, order as text, payments as JSON, reason
  Journal: the payment, and the order: as it is now where it changed, else as the basis of what became of the payment
]]
-- @include fence
-- @include clock
-- @include holds
-- @include parked
-- @include park
local keys = {
  epoch = KEYS[1], products = KEYS[2], holds = KEYS[3], extended = KEYS[4], prepaid = KEYS[5], deadlines = KEYS[6], buyers = KEYS[7],
  journal = KEYS[8], parked = KEYS[9], order = KEYS[10], released = KEYS[11], parked_payments = KEYS[12], payment = KEYS[13],
}
local epoch, id, may_park, park_ttl_ms, key_ttl_ms = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4]), ARGV[5]
local is_once = ARGV[12] == '1'
local payment = { key = ARGV[6], status = ARGV[7], amount = ARGV[8], currency = ARGV[9], method = ARGV[10], transaction = ARGV[11] }

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local known_id = redis.call('GET', keys.payment)
if known_id and known_id ~= id then
  return { 'key_reused' }
end
local order = find_order(keys.order)
local seen = order and redis.call('HGET', keys.order, 'payment:' .. payment.key) or find_parked(keys, payment)
if seen then
  return answer_seen(keys, seen, payment, order and order_text(order) or '')
end
local twin = is_once and find_twin(keys, order, payment)
if twin then
  return answer_twin(keys, twin, order and order_text(order) or '')
end
local now = clock_ms()
payment.created_at_ms = int(now)
if not order then
  local state, hold = find_hold(keys, id, now)
  if state ~= 'live' and not may_park then
    return { 'unknown_order' }
  end
  redis.call('SET', keys.payment, id, 'PX', key_ttl_ms)
  return park(keys, id, payment, hold, now, state == 'released' and 0 or park_ttl_ms)
end

local outcome, reason = settle(keys, order, parse_items(order.items), payment, now)
drop_dead_holds(keys)
save_buyers(keys.buyers)
save_stock(keys.products)
if not outcome then
  return { 'backlog' }
end
local entry, record, payments_json = save_payments(keys, order, { payment_record(id, payment, outcome, outcome, reason) })
remember_payment(keys, payment, outcome, entry, outcome, reason)
redis.call('SET', keys.payment, id, 'PX', key_ttl_ms)
return { outcome, entry, record, payments_json, reason }
