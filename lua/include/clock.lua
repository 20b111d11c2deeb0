-- The one clock: Redis's own, in whole milliseconds. Called once in a script.
local function clock_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
