#!lua flags=no-writes
--[[
  read-holds: live holds, soonest end first, those that come after a place in this order. Paid holds, which do not expire, stand
  where their expires_at puts them.
  KEYS[1] epoch    string  the fence
  KEYS[2] holds    zset    id|record of live holds by expires_at in ms
  KEYS[3] prepaid  zset    id|record of paid holds by expires_at in ms
  ARGV[1] epoch
  ARGV[2] product      '' for holds on any
  ARGV[3] after_score  that of the hold after which to go on, 0 at first
  ARGV[4] after_id     its id, '' at first
  ARGV[5] limit        holds to return at most
  ARGV[6] max_looked   holds to look at for a product at most: a step stays under 2 ms
  Returns { status }, or { 'done', last_score, last_id, { id|record, score } a hold }
    last_score, last_id  the last hold that was looked at; 0 and '' where there is none behind it
  Status, first match wins: fenced | done
]]
-- @include fence
-- @include clock
-- @include broken
-- @include places
local keys = { epoch = KEYS[1], holds = KEYS[2], prepaid = KEYS[3] }
local epoch, product, after_score, after_id, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local max_looked = product == '' and limit or tonumber(ARGV[6])

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
local dead_count = redis.call('ZCOUNT', keys.holds, '-inf', '(' .. int(clock_ms() + 1))
local mortal = entries(keys.holds, math.max(dead_count, rank_after(keys.holds, after_score, after_id)), max_looked + 1)
local paid = entries(keys.prepaid, rank_after(keys.prepaid, after_score, after_id), max_looked + 1)
local places = merge(mortal, paid, max_looked)
local found, looked = {}, 0
for i, place in ipairs(places) do
  if #found == limit then
    break
  end
  looked = i
  if product == '' or has_product(place.member, product) then
    found[#found + 1] = { place.member, place.score }
  end
end
local last = looked < #mortal + #paid and places[looked] or { score = '0', id = '' }
return { 'done', last.score, last.id, unpack(found) }
