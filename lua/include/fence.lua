-- The fence: a caller whose epoch is not the shard's epoch believes in a Redis that is no more.
-- A missing epoch key closes the fence as well.
local step_epoch -- its number alone

local function fenced(epoch_key, epoch)
  step_epoch = string.match(epoch, '^%d+')
  return redis.call('GET', epoch_key) ~= epoch
end

-- Whether what says that it was written or loaded in an epoch still counts: a rebuild leaves behind what it does not load again,
-- however much that is.
local function is_of_this_epoch(epoch)
  return epoch == step_epoch
end
