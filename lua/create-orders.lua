#!lua flags=allow-oom
--[[
  create-orders: turn live holds of one shard into orders, each once, and apply the payments that came before them.
  KEYS[1]  epoch               string  the fence
  KEYS[2]  products            hash    counters and terms of sale
  KEYS[3]  holds               zset    id|record of live holds by expires_at in ms
  KEYS[4]  extended            hash    hold id -> its later expires_at in ms
  KEYS[5]  prepaid             zset    id|record of paid holds by expires_at in ms
  KEYS[6]  deadlines           zset    id|products of unpaid orders by pay_by in ms
  KEYS[7]  buyers              hash    product:customer -> units
  KEYS[8]  journal             stream  what PostgreSQL does not have yet
  KEYS[9]  parked              zset    order id of parked payments by their deadline in ms
  KEYS[10] order...            hash    a request each: the order
  KEYS[11] released...         string  a request each: there while a released hold is remembered
  KEYS[12] parked_payments...  hash    a request each: payments that came before this order
  KEYS[13] idem...             string  a keyed request each: fingerprint|entry|order
  ARGV[1] epoch
  ARGV[2] pay_ttl_ms
  ARGV[3] idem_ttl_ms
  ARGV[4] requests...  a request: id|index of its idem key or 0|absent order or nothing|fingerprint.key
  Returns { status }, or { 'done', { status, ... } a request, in their order }
  Status, first match wins: fenced | done
  Of a request: again | earlier | key_reused | replayed | already_used | released | not_found | expired | created
    again              another request of this batch has the same hold or key: ask again
    earlier            order as text, made under this key in an earlier epoch: true if PostgreSQL has it, else ask again with it as absent
    replayed, created  journal entry ('' once it is committed), order as text, payments as JSON
  Journal: each order and the payments that were applied
]]
-- @include fence
-- @include clock
-- @include holds
-- @include parked
-- @include create
local keys = {
  epoch = KEYS[1], products = KEYS[2], holds = KEYS[3], extended = KEYS[4], prepaid = KEYS[5], deadlines = KEYS[6], buyers = KEYS[7],
  journal = KEYS[8], parked = KEYS[9],
}
local epoch, pay_ttl_ms, idem_ttl_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local FIRST_ID_KEY, FIRST_REQUEST = 10, 4

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local now = clock_ms()
local count = #ARGV - FIRST_REQUEST + 1
local replies, made, taken = { 'done' }, {}, {}
for i = 1, count do
  local request = read_request(ARGV[FIRST_REQUEST + i - 1])
  request.keys = setmetatable({
    order = KEYS[FIRST_ID_KEY + i - 1], released = KEYS[FIRST_ID_KEY + count + i - 1],
    parked_payments = KEYS[FIRST_ID_KEY + 2 * count + i - 1],
    idem = request.idem_index > 0 and KEYS[FIRST_ID_KEY + 3 * count + request.idem_index - 1],
  }, { __index = keys })
  local reply = refuse(request, taken, now)
  if not reply then
    draw_up(request, now, pay_ttl_ms)
    made[#made + 1] = { at = i + 1, request = request }
    reply = {}
  end
  replies[i + 1] = reply
end

for _, one in ipairs(made) do
  replies[one.at] = create(one.request, idem_ttl_ms)
end
drop_dead_holds(keys)
save_buyers(keys.buyers)
save_stock(keys.products)
return replies
