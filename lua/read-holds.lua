#!lua flags=no-writes
--[[
  read-holds: live holds, soonest end first, those that come after a place in this order. Paid holds, which do not expire, stand
  where their expires_at puts them.
  KEYS[1] epoch    string  the fence
  KEYS[2] holds    hash    hold id -> record
  KEYS[3] expiry   zset    hold id by expires_at in ms
  KEYS[4] prepaid  zset    paid holds by expires_at in ms
  ARGV[1] epoch
  ARGV[2] product     '' for holds on any
  ARGV[3] after_ms    expires_at of the hold after which to go on, 0 at first
  ARGV[4] after_id    its id, '' at first
  ARGV[5] limit       holds to return at most
  ARGV[6] max_looked  holds to look at for a product at most: a step stays under 2 ms
  Returns { status }, or { 'done', last_ms, last_id, { id, record, expires_at_ms } a hold }
    last_ms, last_id  the last hold that was looked at; 0 and '' where there is none behind it
  Status, first match wins: fenced | done
]]
-- @include fence
-- @include clock
-- @include broken
-- @include places
local keys = { epoch = KEYS[1], holds = KEYS[2], expiry = KEYS[3], prepaid = KEYS[4] }
local epoch, product, after_ms, after_id, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local max_looked = product == '' and limit or tonumber(ARGV[6])

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local dead_count = redis.call('ZCOUNT', keys.expiry, '-inf', int(clock_ms()))
local mortal = entries(keys.expiry, math.max(dead_count, rank_after(keys.expiry, after_ms, after_id)), max_looked + 1)
local paid = entries(keys.prepaid, rank_after(keys.prepaid, after_ms, after_id), max_looked + 1)
local places = merge(mortal, paid, max_looked)
local found, looked = {}, 0
for i, record in ipairs(#places > 0 and redis.call('HMGET', keys.holds, unpack(ids_of(places))) or {}) do
  if #found == limit then
    break
  end
  looked = i
  if not record then
    broken('hold ' .. places[i].id .. ' has an expires_at but no record')
  elseif product == '' or has_product(record, product) then
    found[#found + 1] = { places[i].id, record, places[i].ms }
  end
end
local last = looked < #mortal + #paid and places[looked] or { ms = 0, id = '' }
return { 'done', last.ms, last.id, unpack(found) }
