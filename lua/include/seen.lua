-- @include orders
-- What is kept of a payment: as the journal carries it, and as its order and its parked hash know it again.

-- A payment as the journal carries it, with what became of it.
local function payment_record(id, payment, outcome, first_outcome, reason)
  return {
    idempotency_key = payment.key, order_id = id, status = payment.status, amount = payment.amount, currency = payment.currency,
    payment_method = payment.method, transaction_id = payment.transaction, created_at_ms = payment.created_at_ms,
    outcome = outcome, first_outcome = first_outcome, reason = reason, seq = payment.seq or '0',
  }
end

-- What an order keeps of a payment, to know it again, and to tell PostgreSQL should that have lost it:
-- status|amount|currency|first_outcome|entry|outcome|reason|created_at_ms|seq|method and transaction as JSON.
local function seen_record(payment, first_outcome, entry, outcome, reason)
  return table.concat({
    payment.status, payment.amount, payment.currency, first_outcome, entry, outcome, reason, payment.created_at_ms, payment.seq or '0',
    cjson.encode({ payment.method, payment.transaction }),
  }, '|')
end

-- Remembers a payment in the order's hash: by its key, and by its transaction, which several notices may announce.
local function remember_payment(keys, payment, first_outcome, entry, outcome, reason)
  local seen = seen_record(payment, first_outcome, entry, outcome, reason)
  redis.call('HSET', keys.order, 'payment:' .. payment.key, seen)
  if payment.transaction ~= '' then
    redis.call('HSETNX', keys.order, 'transaction:' .. payment.status .. ':' .. payment.transaction, seen)
  end
end

local SEEN_PATTERN = '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|'

-- Answers a key that was seen before: key_reused where the payment differs, else duplicate.
local function answer_seen(keys, seen, payment, order_text)
  local status, amount, currency, first_outcome, entry = string.match(seen, SEEN_PATTERN)
  if status ~= payment.status or amount ~= payment.amount or currency ~= payment.currency then
    return { 'key_reused' }
  end
  return { 'duplicate', first_outcome, outstanding(keys.journal, entry), order_text }
end
