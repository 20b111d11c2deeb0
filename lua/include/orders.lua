-- The hash of a live order: the fields below, and payment:<idempotency key> for every payment it has seen.
local ORDER_FIELDS = {
  'version', 'payment_status', 'order_status', 'cancel_reason', 'items', 'amount', 'currency', 'customer', 'created_at_ms', 'pay_by_ms',
  'hold_created_at_ms', 'hold_expires_at_ms', 'idem', 'entry',
}
local FINAL_ORDER_TTL_MS = 3 * 24 * 3600 * 1000 -- after that PostgreSQL alone remembers it

local function find_order(order_key)
  local values = redis.call('HMGET', order_key, unpack(ORDER_FIELDS))
  if not values[1] then
    return nil
  end
  local order = {}
  for i, field in ipairs(ORDER_FIELDS) do
    order[field] = values[i] or ''
  end
  return order
end

local function is_pending(order)
  return order.payment_status == 'pending' and order.order_status == 'pre-payment'
end

-- The order as it goes into the journal and to the caller: all values are text.
local function order_json(id, order)
  order.id = id
  return cjson.encode(order)
end

-- How deadlines name an unpaid order: by its id and the products whose units it has.
local function deadline_of(id, items_text)
  local products = {}
  for product in string.gmatch(items_text, '(%d+):%d+:%d+') do
    products[#products + 1] = product
  end
  table.sort(products)
  return id .. '|' .. table.concat(products, ',')
end

-- Raises the version, journals the order with the payments that moved it, writes it. One call a transition.
-- Returns the journal entry's id and the order as JSON.
local function save_order(keys, id, order, payments_json)
  order.version = int(tonumber(order.version) + 1)
  local json = order_json(id, order)
  order.entry = redis.call('XADD', keys.journal, '*', 'order', json, 'payments', payments_json)
  local fields = {}
  for i, field in ipairs(ORDER_FIELDS) do
    fields[i * 2 - 1] = field
    fields[i * 2] = order[field]
  end
  redis.call('HSET', keys.order, unpack(fields))
  if is_pending(order) then
    redis.call('ZADD', keys.deadlines, order.pay_by_ms, deadline_of(id, order.items))
  else
    redis.call('ZREM', keys.deadlines, deadline_of(id, order.items))
    redis.call('PEXPIRE', keys.order, FINAL_ORDER_TTL_MS)
  end
  return order.entry, json
end

-- The id of a journal entry that PostgreSQL may not have yet, or ''.
local function outstanding(journal_key, entry)
  if not entry or entry == '' then
    return ''
  end
  return #redis.call('XRANGE', journal_key, entry, entry) > 0 and entry or ''
end
