-- Places in a sorted set of ids by moments: by moment, then by the bytes of the id, which is how Redis sorts.

-- Bytes, since Lua compares text as the locale of the server says.
local function comes_after(id, other)
  for i = 1, math.min(#id, #other) do
    local byte, other_byte = string.byte(id, i), string.byte(other, i)
    if byte ~= other_byte then
      return byte > other_byte
    end
  end
  return #id > #other
end

-- The rank of the first member after a place, whether or not there still is one at the place itself.
local function rank_after(key, after_ms, after_id)
  local low = redis.call('ZCOUNT', key, '-inf', '(' .. after_ms)
  local high = redis.call('ZCOUNT', key, '-inf', after_ms)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if comes_after(redis.call('ZRANGE', key, middle, middle)[1], after_id) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

local function entries(key, from, count)
  local flat, list = redis.call('ZRANGE', key, from, from + count - 1, 'WITHSCORES'), {}
  for i = 1, #flat, 2 do
    list[#list + 1] = { id = flat[i], ms = tonumber(flat[i + 1]) }
  end
  return list
end

-- The first entries of two lists in their common order.
local function merge(one, other, limit)
  local merged, i, j = {}, 1, 1
  while #merged < limit and (one[i] or other[j]) do
    local a, b = one[i], other[j]
    if not b or (a and (a.ms < b.ms or (a.ms == b.ms and comes_after(b.id, a.id)))) then
      merged[#merged + 1], i = a, i + 1
    else
      merged[#merged + 1], j = b, j + 1
    end
  end
  return merged
end

local function ids_of(list)
  local ids = {}
  for i, entry in ipairs(list) do
    ids[i] = entry.id
  end
  return ids
end

-- Whether the record of a hold has units of a product.
local function has_product(record, product)
  return string.find(',' .. string.match(record, '^[^|]*'), ',' .. product .. ':', 1, true) ~= nil
end
