-- @include holds
-- @include parked
-- One request of create-orders: what refuses it, the order in memory, and the writing of it once every request was looked at.

-- A request as text: id|index of its idem key or 0|absent|mark. The mark is fingerprint.key; an order keeps it, for when the result is
-- lost with Redis. `absent` is the id of an order that PostgreSQL was asked for, and does not have.
local function read_request(text)
  local id, idem_index, absent, mark = string.match(text, '^([^|]*)|(%d+)|([^|]*)|(.*)$')
  return { id = id, idem_index = tonumber(idem_index), absent = absent, mark = mark, fingerprint = string.match(mark, '^[^.]*') }
end

-- What answers a request in the place of a new order, or nil. A result says by its order's first transition in which epoch it was made:
-- one of an earlier epoch is true where PostgreSQL has that order. `taken` has the holds and keys of orders of this step.
local function refuse(request, taken, now)
  local own = request.keys
  if taken[request.id] or own.idem and taken[own.idem] then
    return { 'again' }
  end
  local result = own.idem and redis.call('GET', own.idem)
  if result then
    local known, entry, record, id = string.match(result, '^([^|]*)|([^|]*)|(([^|]*).*)$')
    local is_counted = is_of_this_epoch(string.match(record, '^[^|]*|(%d+)%-'))
    if not is_counted and id ~= request.absent then
      return { 'earlier', record }
    elseif is_counted and known ~= request.fingerprint then
      return { 'key_reused' }
    elseif is_counted then
      return { 'replayed', outstanding(own.journal, entry), record, '' }
    end
  end
  local state, hold = find_hold(own, request.id, now)
  if state == 'already_used' and request.mark ~= '' then
    local known = find_order(own.order)
    if known.idem == request.mark then
      return { 'replayed', outstanding(own.journal, known.entry), order_text(known), '' }
    end
  end
  if state ~= 'live' then
    return { state }
  end
  if redis.call('EXISTS', own.order) == 1 then
    broken('something stands in the place of the order of a live hold')
  end
  request.hold = hold
  taken[request.id] = true
  if own.idem then
    taken[own.idem] = true
  end
end

-- Moves the units of a hold to its order and applies what was paid for it before: in memory, so that a later request of this
-- step may still fail it all.
local function draw_up(request, now, pay_ttl_ms)
  local own, hold = request.keys, request.hold
  local order = {
    id = request.id, history = '', payment_status = 'pending', order_status = 'pre-payment', cancel_reason = '', items = hold.items_text,
    amount = int(amount_of(hold.items)), currency = hold.currency, customer = hold.customer, created_at_ms = int(now),
    pay_by_ms = int(now + pay_ttl_ms), hold_created_at_ms = int(hold.created_at_ms), hold_expires_at_ms = int(hold.expires_at_ms),
    idem = request.mark, entry = '',
  }
  move_items(own, hold.items, 'held', 'pending')
  request.order, request.payments = order, parked_payments(own.parked_payments)
  request.records = settle_parked(own, order, hold.items, request.payments, now) or broken('a new order waits for dead holds')
end

-- Writes the order in the place of its hold. Returns the reply.
local function create(request, idem_ttl_ms)
  local own = request.keys
  remove_hold(own, request.hold)
  if #request.payments > 0 then
    drop_parked(own, request.id)
  end
  local payments_json = #request.records > 0 and cjson.encode(request.records) or ''
  local entry, record = save_order(own, request.order, payments_json)
  remember_parked(own, request.payments, request.records, entry)
  if own.idem then
    redis.call('SET', own.idem, request.fingerprint .. '|' .. entry .. '|' .. record, 'PX', idem_ttl_ms)
  end
  return { 'created', entry, record, payments_json }
end
