-- A broken invariant: nothing has been written yet, the caller gets an error that starts with BROKEN.
local function broken(what)
  error(redis.error_reply('BROKEN ' .. what))
end

local MAX_COUNT = 9007199254740991 -- 2^53 - 1, the largest integer that a double tells from its neighbours

-- A stored counter as a number. Anything but an integer between 0 and MAX_COUNT is a broken invariant.
local function count_of(text, what)
  local number = tonumber(text)
  if not number or number < 0 or number > MAX_COUNT or number % 1 ~= 0 then
    broken(what .. ' is not a count')
  end
  return number
end

-- An integer as text. Concatenation would turn 15 digits and more into 1e+15.
local function int(number)
  return string.format('%d', number)
end
