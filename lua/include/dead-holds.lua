-- @include holds
-- @include give-back
local dead_ids, dead_members, stuck_members = {}, {}, {}
local dead_are_taken, dead_are_more = false, false

-- Whether the counters have the units of a hold. One that is broken stands in the way of its own product alone.
local function can_give_back(keys, items)
  for _, item in ipairs(items) do
    local is_count, stock = pcall(find_stock, keys.products, item.product)
    if not is_count or not stock or stock.held < item.qty then
      return false
    end
  end
  return true
end

-- Gives back the units of up to `limit` dead holds, those that died first: once in a step, since they stay where they are until
-- drop_dead_holds() writes. Counters change in memory only. One that can not be read, or given back, is passed over: only a rebuild can
-- help it, and the others are not to wait for that. Where there is no other, that is a broken invariant, except to a sweep, which sees to the
-- rebuild. Returns how many there were, and when the first of them died, in ms.
local function take_dead_holds(keys, now, limit, is_sweep)
  if dead_are_taken then
    return 0
  end
  dead_are_taken = true
  local found = redis.call('ZRANGE', keys.holds, '-inf', '(' .. int(now + 1), 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  local since_ms, stuck
  for i = 1, #found, 2 do
    local is_readable, hold = pcall(parse_hold, found[i])
    if is_readable and can_give_back(keys, hold.items) then
      give_back(keys, hold.items, hold.customer, 'held')
      dead_ids[#dead_ids + 1], dead_members[#dead_members + 1] = hold.id, found[i]
      since_ms = since_ms or math.floor(tonumber(found[i + 1]))
    else
      stuck = stuck or is_readable and hold
      stuck_members[#stuck_members + 1] = found[i]
    end
  end
  if #dead_ids == 0 and stuck and not is_sweep then
    give_back(keys, stuck.items, stuck.customer, 'held') -- which says what is broken
  end
  dead_are_more = #found == 2 * limit and #dead_ids > 0
  return #dead_ids, since_ms
end

local function drop_dead_holds(keys)
  if #dead_ids > 0 then
    redis.call('HDEL', keys.extended, unpack(dead_ids))
    redis.call('ZREM', keys.holds, unpack(dead_members))
    dead_ids, dead_members = {}, {}
  end
end
