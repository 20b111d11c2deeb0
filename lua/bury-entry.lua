#!lua flags=allow-oom
--[[
  bury-entry: set aside a journal entry that PostgreSQL keeps refusing, so that it is seen and holds up no other.
  KEYS[1] epoch    string  the fence
  KEYS[2] journal  stream  what PostgreSQL does not have yet
  KEYS[3] dead     stream  entries that were set aside, with `entry_id` and `reason`
  ARGV[1] epoch
  ARGV[2] entry_id
  ARGV[3] reason
  Returns { status }
  Status, first match wins: fenced | unknown_entry | buried
]]
-- @include fence
local keys = { epoch = KEYS[1], journal = KEYS[2], dead = KEYS[3] }
local epoch, entry_id, reason = ARGV[1], ARGV[2], ARGV[3]

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local entry = redis.call('XRANGE', keys.journal, entry_id, entry_id)[1]
if not entry then
  return { 'unknown_entry' }
end
local fields = entry[2]
for _, text in ipairs({ 'entry_id', entry_id, 'reason', reason }) do
  fields[#fields + 1] = text
end
redis.call('XADD', keys.dead, '*', unpack(fields))
redis.call('XDEL', keys.journal, entry_id)
return { 'buried' }
