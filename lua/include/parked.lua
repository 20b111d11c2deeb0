-- @include payments
-- @include seen
-- Payments that came before their order: parked_payments:<id> is a hash, idempotency key -> payment as JSON, `seq` their order of
-- arrival, `epoch` that in which they were parked or loaded: those of an earlier one do not count.

-- The parked payments of an order, first come first.
local function parked_payments(parked_key)
  local payments = {}
  for _, value in ipairs(redis.call('HVALS', parked_key)) do
    local payment = cjson.decode(value)
    if is_of_this_epoch(payment.epoch) then
      payments[#payments + 1] = payment
    end
  end
  table.sort(payments, function(a, b) return tonumber(a.seq) < tonumber(b.seq) end)
  return payments
end

-- How many payments are parked for an order. Where there are none, what an earlier epoch may have left there makes room.
local function count_parked(parked_key)
  local count = #parked_payments(parked_key)
  if count == 0 then
    redis.call('DEL', parked_key)
  end
  return count
end

local function drop_parked(keys, id)
  redis.call('DEL', keys.parked_payments)
  redis.call('ZREM', keys.parked, id)
end

-- What becomes of parked payments, applied to their order in memory, as records; nil where dead holds are still being taken back.
local function settle_parked(keys, order, items, payments, now)
  local records = {}
  for i, payment in ipairs(payments) do
    local outcome, reason = settle(keys, order, items, payment, now)
    if not outcome then
      return nil
    end
    records[i] = payment_record(order.id, payment, outcome, 'parked', reason)
  end
  return records
end

local function remember_parked(keys, payments, records, entry)
  for i, payment in ipairs(payments) do
    remember_payment(keys, payment, 'parked', entry, records[i].outcome, records[i].reason)
  end
end

-- Journals what becomes of parked payments whose order can never come: money back for a success, nothing for a failure.
-- Returns the journal entry's id and the payments as JSON; '' and '' where nothing was parked.
local function give_up_parked(keys, id, reason)
  local records = {}
  for i, payment in ipairs(parked_payments(keys.parked_payments)) do
    if payment.status == 'success' then
      records[i] = payment_record(id, payment, 'refund_due', 'parked', reason)
    else
      records[i] = payment_record(id, payment, 'ignored', 'parked', '')
    end
  end
  if #records == 0 then
    return '', ''
  end
  local payments_json = cjson.encode(records)
  drop_parked(keys, id)
  return redis.call('XADD', keys.journal, '*', 'order', '', 'payments', payments_json), payments_json
end
