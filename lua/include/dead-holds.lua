-- @include holds
-- @include give-back
local dead_ids = {}
local dead_are_taken, dead_are_more = false, false

-- Gives back the units of up to `limit` dead holds, those that died first: once in a step, since they stay where they are until
-- drop_dead_holds() writes. Counters change in memory only. Returns how many there were.
local function take_dead_holds(keys, now, limit)
  if dead_are_taken then
    return 0
  end
  dead_are_taken = true
  local members = redis.call('ZRANGE', keys.holds, '-inf', '(' .. int(now + 1), 'BYSCORE', 'LIMIT', 0, limit)
  for i, member in ipairs(members) do
    local hold = parse_hold(member)
    dead_ids[i] = hold.id
    give_back(keys, hold.items, hold.customer, 'held')
  end
  dead_are_more = #members == limit
  return #members
end

-- The dead are the first of all holds, also when a step has removed a live one meanwhile.
local function drop_dead_holds(keys)
  if #dead_ids > 0 then
    redis.call('HDEL', keys.extended, unpack(dead_ids))
    redis.call('ZREMRANGEBYRANK', keys.holds, 0, #dead_ids - 1)
    dead_ids = {}
  end
end
