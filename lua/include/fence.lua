-- The fence: a caller whose epoch is not the shard's epoch believes in a Redis that is no more.
-- A missing epoch key closes the fence as well.
local step_epoch

local function fenced(epoch_key, epoch)
  step_epoch = epoch
  return redis.call('GET', epoch_key) ~= epoch
end
