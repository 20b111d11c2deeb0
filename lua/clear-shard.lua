#!lua flags=allow-oom
--[[
  clear-shard: forget what PostgreSQL knows better: counters, terms, deadlines, buyers, which payments are parked; and which holds were extended,
  which their scores say. Holds stay. Products are put aside until they are loaded again, should PostgreSQL lose them just now.
  KEYS[1] epoch      string  the fence
  KEYS[2] products   hash    counters and terms of sale
  KEYS[3] deadlines  zset    id|products of unpaid orders by pay_by in ms
  KEYS[4] buyers     hash    product:customer -> units
  KEYS[5] parked     zset    order id of parked payments by their deadline in ms
  KEYS[6] extended   hash    hold id -> its later expires_at in ms
  KEYS[7] bought     hash    product:customer -> units in orders paid before the last rebuild
  KEYS[8] products_before  hash  the products as they were; where there are any, a rebuild broke off, and these are the ones
  ARGV[1] epoch
  Returns { status, now in ms }
  Status, first match wins: fenced | cleared
]]
-- @include fence
-- @include clock
local keys = {
  epoch = KEYS[1], products = KEYS[2], deadlines = KEYS[3], buyers = KEYS[4], parked = KEYS[5], extended = KEYS[6], bought = KEYS[7],
  products_before = KEYS[8],
}
local epoch = ARGV[1]

if fenced(keys.epoch, epoch) then
  return { 'fenced' }
end
if redis.call('TYPE', keys.products).ok == 'hash' and redis.call('EXISTS', keys.products_before) == 0 then
  redis.call('RENAME', keys.products, keys.products_before)
end
redis.call('UNLINK', keys.products, keys.deadlines, keys.buyers, keys.parked, keys.extended, keys.bought)
return { 'cleared', clock_ms() }
