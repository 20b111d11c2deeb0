-- @include broken
-- @include clock
-- @include fence
-- The hash of an order: `order`, its record as text; `entry`, the journal entry of its latest transition; `epoch`, in which it was
-- last written or loaded, and without which it does not count; and payment:<idempotency key> for every payment it has seen. The record has these fields, split by |; the customer comes last, since it
-- may contain anything. `history` names every transition so far by its epoch and its moment in µs, the latest last: two orders with one
-- history are the same, and one whose history begins with the other's is what became of it. No two Redises write the same.
local ORDER_FIELDS = {
  'id', 'history', 'payment_status', 'order_status', 'cancel_reason', 'items', 'amount', 'currency', 'created_at_ms', 'pay_by_ms',
  'hold_created_at_ms', 'hold_expires_at_ms', 'idem', 'customer',
}
local ORDER_PATTERN = '^' .. string.rep('([^|]*)|', #ORDER_FIELDS - 1) .. '(.*)$'
local FINAL_ORDER_TTL_MS = 3 * 24 * 3600 * 1000 -- after that PostgreSQL alone remembers it

-- Whether the shard has an order. One of an earlier epoch is PostgreSQL's to tell.
local function has_order(order_key)
  return is_of_this_epoch(redis.call('HGET', order_key, 'epoch'))
end

local function find_order(order_key)
  local record, entry, epoch = unpack(redis.call('HMGET', order_key, 'order', 'entry', 'epoch'))
  if not is_of_this_epoch(epoch) then
    return nil
  end
  local order, values = { entry = entry or '' }, { string.match(record or '', ORDER_PATTERN) }
  if #values == 0 then
    broken('an order has no readable record')
  end
  for i, field in ipairs(ORDER_FIELDS) do
    order[field] = values[i]
  end
  return order
end

local function is_pending(order)
  return order.payment_status == 'pending' and order.order_status == 'pre-payment'
end

-- The record of an order, as its hash, the journal and the caller have it.
local function order_text(order)
  local values = {}
  for i, field in ipairs(ORDER_FIELDS) do
    values[i] = order[field]
  end
  return table.concat(values, '|')
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

-- Adds to the history, journals the order with the payments that moved it, writes it. One call a transition.
-- A new one takes the place of what an earlier epoch may have left there.
-- Returns the journal entry's id and the order as text.
local function save_order(keys, order, payments_json)
  if not now_us then
    clock_ms()
  end
  local is_new = order.history == ''
  order.history = (is_new and '' or order.history .. ',') .. step_epoch .. '-' .. int(now_us)
  local record = order_text(order)
  order.entry = redis.call('XADD', keys.journal, '*', 'order', record, 'payments', payments_json)
  if is_new then
    redis.call('DEL', keys.order)
  end
  redis.call('HSET', keys.order, 'order', record, 'entry', order.entry, 'epoch', step_epoch)
  local deadline = deadline_of(order.id, order.items)
  if is_pending(order) then
    redis.call('ZADD', keys.deadlines, order.pay_by_ms, deadline)
  else
    redis.call('ZREM', keys.deadlines, deadline)
    redis.call('PEXPIRE', keys.order, FINAL_ORDER_TTL_MS)
  end
  return order.entry, record
end

-- Journals what became of payments of an order that is there: with the order where they changed it, else with the order as their basis.
-- Returns the journal entry's id, the order as text, and the payments as JSON.
local function save_payments(keys, order, records)
  local payments_json = cjson.encode(records)
  for _, record in ipairs(records) do
    if record.outcome == 'applied' then
      local entry, text = save_order(keys, order, payments_json)
      return entry, text, payments_json
    end
  end
  local text = order_text(order)
  return redis.call('XADD', keys.journal, '*', 'order', '', 'payments', payments_json, 'basis', text), text, payments_json
end

-- The id of a journal entry that PostgreSQL may not have yet, or ''.
local function outstanding(journal_key, entry)
  if not entry or entry == '' then
    return ''
  end
  return #redis.call('XRANGE', journal_key, entry, entry) > 0 and entry or ''
end
