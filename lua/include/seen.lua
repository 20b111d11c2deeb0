-- @include orders
-- What is kept of a payment: as the journal carries it, and as its order and its parked hash know it again.

-- A payment as the journal carries it, with what became of it.
local function payment_record(id, payment, outcome, first_outcome, reason)
  return {
    idempotency_key = payment.key, order_id = id, status = payment.status, amount = payment.amount, currency = payment.currency,
    payment_method = payment.method, transaction_id = payment.transaction, created_at_ms = payment.created_at_ms,
    outcome = outcome, first_outcome = first_outcome, reason = reason,
  }
end

-- What an order or a parked hash keeps of a payment, to know it again: status|amount|currency|first_outcome|entry.
local function seen_record(payment, first_outcome, entry)
  return table.concat({ payment.status, payment.amount, payment.currency, first_outcome, entry }, '|')
end

-- Remembers a payment in the order's hash: by its key, and by its transaction, which several notices may announce.
local function remember_payment(keys, payment, first_outcome, entry)
  local seen = seen_record(payment, first_outcome, entry)
  redis.call('HSET', keys.order, 'payment:' .. payment.key, seen)
  if payment.transaction ~= '' then
    redis.call('HSETNX', keys.order, 'transaction:' .. payment.status .. ':' .. payment.transaction, seen)
  end
end

-- Answers a key that was seen before: key_reused where the payment differs, else duplicate.
local function answer_seen(keys, seen, payment, order_text)
  local status, amount, currency, first_outcome, entry = string.match(seen, '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)$')
  if status ~= payment.status or amount ~= payment.amount or currency ~= payment.currency then
    return { 'key_reused' }
  end
  return { 'duplicate', first_outcome, outstanding(keys.journal, entry), order_text }
end
