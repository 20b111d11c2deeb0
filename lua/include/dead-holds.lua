-- @include holds
-- @include give-back
local dead_ids = {}
local dead_are_more = false

-- Gives back the units of up to `limit` dead holds, those that died first. Counters change in memory only;
-- drop_dead_holds() writes. Returns how many there were.
local function take_dead_holds(keys, now, limit)
  dead_ids = redis.call('ZRANGE', keys.expiry, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, limit)
  if #dead_ids == 0 then
    return 0
  end
  for i, record in ipairs(redis.call('HMGET', keys.holds, unpack(dead_ids))) do
    if not record then
      broken('hold ' .. dead_ids[i] .. ' has an expires_at but no record')
    end
    local hold = parse_hold(record)
    give_back(keys, hold.items, hold.customer, 'held')
  end
  dead_are_more = #dead_ids == limit
  return #dead_ids
end

local function drop_dead_holds(keys)
  if #dead_ids > 0 then
    redis.call('HDEL', keys.holds, unpack(dead_ids))
    redis.call('ZREM', keys.expiry, unpack(dead_ids))
    dead_ids = {}
  end
end
