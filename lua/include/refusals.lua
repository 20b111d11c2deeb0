-- @include dead-holds
-- @include cart
-- @include wait
-- Why a request of place-holds can not be granted, in the order in which it is checked.
local MAX_DEAD_HOLDS = 125 -- a step stays under 2 ms

local function refuse_limits(keys, cart, request, now, default_ttl_ms)
  for _, item in ipairs(cart.items) do
    local terms = terms_of(keys.products, item.product, default_ttl_ms)
    if terms.max_per_customer and request.customer == '' then
      return { 'customer_required', item.product }
    elseif terms.max_per_hold and item.qty > terms.max_per_hold then
      return { 'limit_exceeded', item.product, terms.max_per_hold }
    elseif terms.max_per_customer then
      local before = units_before(keys, item.product, request.customer)
      local room = terms.max_per_customer - item.qty - (before or 0)
      if units_of(keys.buyers, item.product, request.customer) > room then
        take_dead_holds(keys, now, MAX_DEAD_HOLDS)
      end
      if units_of(keys.buyers, item.product, request.customer) > room then
        return dead_are_more and { 'backlog' } or { 'limit_exceeded', item.product, terms.max_per_customer }
      elseif not before then
        return { 'unknown_buyer', item.product }
      end
    end
  end
end

-- Units are held, so there are holds: else Redis has lost them, and nobody may be told to wait. Those that this step has
-- placed are not written yet.
local function check_holds(keys, product, stock)
  if stock.held > 0 and not stock.changed and redis.call('EXISTS', keys.holds, keys.prepaid) == 0 then
    broken('product ' .. product .. ' has units held, but there are no holds')
  end
end

local function refuse_stock(keys, cart, now, default_ttl_ms)
  for _, item in ipairs(cart.items) do
    local stock = find_stock(keys.products, item.product)
    if stock.available < item.qty then
      take_dead_holds(keys, now, MAX_DEAD_HOLDS)
    end
    if stock.available < item.qty then
      if dead_are_more and stock.total >= item.qty then
        return { 'backlog' }
      end
      if not stock.is_checked then
        check_holds(keys, item.product, stock)
        stock.is_checked = true
      end
      if stock.available > 0 then
        return { 'insufficient_stock', item.product, 'too_many', stock.available, 0 }
      end
      -- Nothing comes back in this step any more, so all who come after get the same answer.
      if not stock.none_left then
        local reason, retry_after_ms = 'sold_out', 0
        if stock.held + stock.pending > 0 then
          local ttl_ms = terms_of(keys.products, item.product, default_ttl_ms).hold_ttl_ms
          reason, retry_after_ms = 'all_held', wait_ms(keys, item.product, now, ttl_ms)
        end
        stock.none_left = { 'insufficient_stock', item.product, reason, 0, retry_after_ms }
      end
      return stock.none_left
    end
  end
end

-- Why a request can not be granted, or nil. Where there are no units nobody needs to ask what the customer has bought.
local function refuse(keys, cart, request, now, default_ttl_ms)
  local refusal = cart.refusal or cart.is_limited and refuse_limits(keys, cart, request, now, default_ttl_ms) or nil
  if refusal and refusal[1] ~= 'unknown_buyer' then
    return refusal
  end
  return refuse_stock(keys, cart, now, default_ttl_ms) or refusal
end
