-- Places in the order of holds: by score, then by id, which is how Redis sorts them.

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

local function id_of(member)
  return string.match(member, '^[^|]*')
end

-- The rank of the first hold after a place, whether or not there still is one at the place itself.
local function rank_after(key, after_score, after_id)
  local low = redis.call('ZCOUNT', key, '-inf', '(' .. after_score)
  local high = redis.call('ZCOUNT', key, '-inf', after_score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if comes_after(id_of(redis.call('ZRANGE', key, middle, middle)[1]), after_id) then
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
    list[#list + 1] = { member = flat[i], id = id_of(flat[i]), score = flat[i + 1], at = tonumber(flat[i + 1]) }
  end
  return list
end

-- The first entries of two lists in their common order.
local function merge(one, other, limit)
  local merged, i, j = {}, 1, 1
  while #merged < limit and (one[i] or other[j]) do
    local a, b = one[i], other[j]
    if not b or (a and (a.at < b.at or (a.at == b.at and comes_after(b.id, a.id)))) then
      merged[#merged + 1], i = a, i + 1
    else
      merged[#merged + 1], j = b, j + 1
    end
  end
  return merged
end

-- Whether a hold has units of a product.
local function has_product(member, product)
  return string.find(',' .. string.match(member, '^[^|]*|([^|]*)'), ',' .. product .. ':', 1, true) ~= nil
end
