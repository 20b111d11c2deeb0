-- @include stock
-- @include buyers
-- The only way in which units return to free stock: for a dead or released hold from held, for a failed, late or
-- cancelled order from pending.
local function give_back(keys, items, customer, from)
  for _, item in ipairs(items) do
    move_stock(keys.products, item.product, from, 'available', item.qty)
    if customer ~= '' then
      count_units(keys.buyers, item.product, customer, -item.qty)
    end
  end
end
