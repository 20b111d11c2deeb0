#!lua flags=allow-oom
--[[
  drop-entries: drop journal entries that PostgreSQL has committed, and note how far its commits have come.
  KEYS[1] epoch    string  the fence
  KEYS[2] journal  stream  what PostgreSQL does not have yet
  KEYS[3] commits  hash    writer -> how many commits it has made
  ARGV[1] epoch
  ARGV[2] writer
  ARGV[3] commits
  ARGV[4] entry_ids...
  Returns { status }
  Status, first match wins: fenced | dropped
]]
-- @include fence
local keys = { epoch = KEYS[1], journal = KEYS[2], commits = KEYS[3] }
local epoch, writer, commits, FIRST_ENTRY = ARGV[1], ARGV[2], ARGV[3], 4

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
if #ARGV >= FIRST_ENTRY then
  redis.call('XDEL', keys.journal, unpack(ARGV, FIRST_ENTRY))
end
redis.call('HSET', keys.commits, writer, commits)
return { 'dropped' }
