#!lua flags=allow-oom
--[[
  settle-parked: settle parked payments whose order is there though its hold did not bring it (a Redis that had lost it parked them), and
  give up on those whose order can never come: a success is due for refund, a failure is ignored.
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
  KEYS[11] parked_payments  hash    payments that came before this order
  ARGV[1] epoch
  ARGV[2] id
  ARGV[3] park_ttl_ms  the next deadline where the hold still lives
  Returns { status, ... }
  Status, first match wins: fenced | not_due | postponed | backlog | settled | given_up
    backlog   dead holds are still being taken back: it is due again at once
    settled   journal entry, order as text, payments as JSON
    given_up  journal entry, payments as JSON
  Journal: the payments, and the order: as it is now where they changed it, else as the basis of what became of them
]]
-- @include fence
-- @include clock
-- @include holds
-- @include parked
local keys = {
  epoch = KEYS[1], products = KEYS[2], holds = KEYS[3], extended = KEYS[4], prepaid = KEYS[5], deadlines = KEYS[6], buyers = KEYS[7],
  journal = KEYS[8], parked = KEYS[9], order = KEYS[10], parked_payments = KEYS[11],
}
local epoch, id, park_ttl_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()
local deadline_ms = redis.call('ZSCORE', keys.parked, id)
local order = find_order(keys.order)
if not deadline_ms or not order and now < tonumber(deadline_ms) then
  return { 'not_due' }
elseif not order and stored_hold(keys, id) then
  redis.call('ZADD', keys.parked, int(now + park_ttl_ms), id)
  return { 'postponed' }
end
local payments = parked_payments(keys.parked_payments)
if #payments == 0 then
  redis.call('ZREM', keys.parked, id)
  return { 'not_due' }
elseif not order then
  local entry, payments_json = give_up_parked(keys, id, 'order_never_came')
  return { 'given_up', entry, payments_json }
end

local records = settle_parked(keys, order, parse_items(order.items), payments, now)
drop_dead_holds(keys)
save_buyers(keys.buyers)
save_stock(keys.products)
if not records then
  redis.call('ZADD', keys.parked, int(now), id)
  return { 'backlog' }
end
drop_parked(keys, id)
local entry, record, payments_json = save_payments(keys, order, records)
remember_parked(keys, payments, records, entry)
return { 'settled', entry, record, payments_json }
