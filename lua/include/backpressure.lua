-- Whether the journal says stop: too many entries wait for PostgreSQL, or the oldest for too long.
local function journal_is_full(journal_key, now, max_entries, max_age_ms)
  local length = redis.call('XLEN', journal_key)
  if length == 0 then
    return false
  end
  local oldest = redis.call('XRANGE', journal_key, '-', '+', 'COUNT', 1)[1]
  return length > max_entries or now - tonumber(string.match(oldest[1], '^%d+')) > max_age_ms
end
