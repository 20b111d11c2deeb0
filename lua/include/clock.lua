-- The one clock: Redis's own, in whole milliseconds. Called once in a script, and kept in microseconds for what has to be told
-- apart from all else.
local now_us

local function clock_ms()
  local time = redis.call('TIME')
  now_us = time[1] * 1000000 + time[2]
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
