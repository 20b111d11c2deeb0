-- @include give-back
-- @include dead-holds
-- @include orders
-- What a payment does to an order. A payment is { key, status, amount, currency, method, transaction, created_at_ms },
-- all text, amount and currency '' where the sender named none.
local MAX_DEAD_HOLDS_FOR_PAYMENT = 125 -- a step stays under 2 ms

local function all_available(keys, items)
  for _, item in ipairs(items) do
    local stock = find_stock(keys.products, item.product)
    if not stock or stock.available < item.qty then
      return false
    end
  end
  return true
end

local function move_items(keys, items, from, to)
  for _, item in ipairs(items) do
    move_stock(keys.products, item.product, from, to, item.qty)
  end
end

local function differs(stated, own)
  return stated ~= '' and stated ~= own
end

-- Takes free units again for an order that was cancelled when its payment failed or came too late.
local function take_again(keys, order, items, now)
  if not all_available(keys, items) then
    take_dead_holds(keys, now, MAX_DEAD_HOLDS_FOR_PAYMENT)
  end
  if not all_available(keys, items) then
    return false
  end
  move_items(keys, items, 'available', 'sold')
  if order.customer ~= '' then
    for _, item in ipairs(items) do
      if tonumber(redis.call('HGET', keys.products, item.product .. ':max_per_customer') or '') then
        count_units(keys.buyers, item.product, order.customer, item.qty)
      end
    end
  end
  return true
end

-- Applies a success. Returns outcome, reason; nil where dead holds are still being taken back.
local function settle_success(keys, order, items, payment, now)
  if differs(payment.amount, order.amount) or differs(payment.currency, order.currency) then
    return 'refund_due', 'amount_mismatch'
  elseif order.payment_status == 'paid' then
    return 'refund_due', 'already_paid'
  elseif order.cancel_reason == 'requested' then
    return 'refund_due', 'order_cancelled'
  end
  if is_pending(order) then
    move_items(keys, items, 'pending', 'sold')
  elseif not take_again(keys, order, items, now) then
    if dead_are_more then
      return nil
    end
    return 'refund_due', 'no_units_left'
  end
  order.payment_status, order.order_status, order.cancel_reason = 'paid', 'confirmed', ''
  return 'applied', ''
end

-- Applies a payment to an order and its units, in memory. Returns outcome, reason; nil means: ask again.
local function settle(keys, order, items, payment, now)
  if payment.status == 'success' then
    return settle_success(keys, order, items, payment, now)
  elseif not is_pending(order) then
    return 'ignored', ''
  end
  give_back(keys, items, order.customer, 'pending')
  order.payment_status, order.order_status, order.cancel_reason = 'failed', 'cancelled', 'payment_failed'
  return 'applied', ''
end
