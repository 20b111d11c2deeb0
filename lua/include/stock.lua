-- @include broken
-- The counters of the products that a step touches: read on first use, changed here alone, written once by save_stock().
-- Every change moves units from one part to another, so available + held + pending + sold = total stays true.
local PARTS = { 'available', 'held', 'pending', 'sold', 'total' }
local stock_by_product = {}

-- The counters of a product, or nil where the shard does not know it.
local function find_stock(products_key, product)
  local stock = stock_by_product[product]
  if stock then
    return stock
  end
  local fields = {}
  for i, part in ipairs(PARTS) do
    fields[i] = product .. ':' .. part
  end
  local values = redis.call('HMGET', products_key, unpack(fields))
  if not values[5] then
    return nil
  end
  stock = {}
  for i, part in ipairs(PARTS) do
    stock[part] = count_of(values[i], fields[i])
  end
  if stock.available + stock.held + stock.pending + stock.sold ~= stock.total then
    broken('the parts of product ' .. product .. ' do not add up to its total')
  end
  stock_by_product[product] = stock
  return stock
end

-- Moves units between two parts. A part that would become negative is a broken invariant, and so is a qty below one or
-- in parts: moving -1 would take from `to` unchecked.
local function move_stock(products_key, product, from, to, qty)
  local stock = find_stock(products_key, product)
  if qty < 1 or qty % 1 ~= 0 then
    broken('product ' .. product .. ' can not move ' .. tostring(qty) .. ' units')
  elseif not stock or stock[from] < qty then
    broken('product ' .. product .. ' has fewer than ' .. int(qty) .. ' units ' .. from)
  end
  stock[from] = stock[from] - qty
  stock[to] = stock[to] + qty
  stock.changed = true
end

-- Adds units that did not exist before, or takes free ones out of the sale.
local function adjust_total(products_key, product, delta)
  local stock = find_stock(products_key, product)
  if stock.available + delta < 0 or stock.total + delta > MAX_COUNT then
    broken('product ' .. product .. ' can not be adjusted by ' .. int(delta))
  end
  stock.available = stock.available + delta
  stock.total = stock.total + delta
  stock.changed = true
end

local function save_stock(products_key)
  for product, stock in pairs(stock_by_product) do
    if stock.changed then
      local fields = {}
      for i, part in ipairs(PARTS) do
        fields[i * 2 - 1] = product .. ':' .. part
        fields[i * 2] = int(stock[part])
      end
      redis.call('HSET', products_key, unpack(fields))
      stock.changed = false
    end
  end
end
