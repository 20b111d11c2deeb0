import { Type } from '@sinclair/typebox'
import { Count, Currency, Nullable, Time, Word } from './common.ts'

export const ProductParams = Type.Object({
  id: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Product id' }),
})

const STOCK = {
  total: Count('All units'),
  available: Count('Free to hold'),
  held: Count('Under live holds'),
  pending: Count('In unpaid orders'),
  sold: Count('Paid'),
}
const State = Word(
  ['available', 'all_held', 'sold_out', 'not_started', 'ended', 'paused'],
  'all_held: nothing is free, but held or pending units may come back',
)

export const Stock = Type.Object(STOCK, { description: 'available + held + pending + sold = total' })
export const StockWithState = Type.Object({ ...STOCK, state: State })

export const Product = Type.Object({
  id: Count('Product id', 1),
  name: Type.String(),
  unit_amount: Count('Price of a unit in minor units'),
  currency: Currency,
  available_stock: Count('stock.available'),
  stock: Stock,
  state: State,
  starts_at: Nullable(Time('When the sale starts')),
  ends_at: Nullable(Time('When the sale ends')),
  hold_ttl_seconds: Count('How long a hold lives', 1),
  max_per_hold: Nullable(Count('Units of one hold at most', 1)),
  max_per_customer: Nullable(Count('Units of one customer at most', 1)),
})
