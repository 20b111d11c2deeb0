-- @include parked
-- Parking of a payment whose order does not exist yet.

-- What is known of a payment that is parked already, as answer_seen() reads it, or nil.
local function find_parked(keys, payment)
  local value = redis.call('HGET', keys.parked_payments, payment.key)
  if not value then
    return nil
  end
  local parked = cjson.decode(value)
  if not is_of_this_epoch(parked.epoch) then
    return nil
  end
  return seen_record(parked, 'parked', parked.entry, 'parked', '')
end

-- What is known of the same transaction under another key, or nil.
local function find_twin(keys, order, payment)
  if payment.transaction == '' then
    return nil
  elseif order then
    return redis.call('HGET', keys.order, 'transaction:' .. payment.status .. ':' .. payment.transaction)
  end
  for _, parked in ipairs(parked_payments(keys.parked_payments)) do
    if parked.status == payment.status and parked.transaction == payment.transaction then
      return seen_record(parked, 'parked', parked.entry, 'parked', '')
    end
  end
end

-- Answers a transaction that another notice has announced: whatever else that one said, it has had its effect.
local function answer_twin(keys, seen, order_text)
  local first_outcome, entry = select(4, string.match(seen, SEEN_PATTERN))
  return { 'duplicate', first_outcome, outstanding(keys.journal, entry), order_text }
end

-- Parks a payment. A success that pays for a live hold keeps this hold from expiring.
local function park(keys, id, payment, hold, now, park_ttl_ms)
  payment.seq, payment.epoch = int(count_parked(keys.parked_payments)), step_epoch
  local payments_json = cjson.encode({ payment_record(id, payment, 'parked', 'parked', '') })
  payment.entry = redis.call('XADD', keys.journal, '*', 'order', '', 'payments', payments_json)
  redis.call('HSET', keys.parked_payments, payment.key, cjson.encode(payment))
  redis.call('ZADD', keys.parked, 'NX', int(now + park_ttl_ms), id)
  local pays = hold and payment.status == 'success'
    and not differs(payment.amount, int(amount_of(hold.items))) and not differs(payment.currency, hold.currency)
  if pays and hold.key == keys.holds then
    redis.call('ZREM', keys.holds, hold.member)
    redis.call('ZADD', keys.prepaid, score_of(id, hold.expires_at_ms), hold.member)
  end
  return { 'parked', payment.entry, '', payments_json }
end
