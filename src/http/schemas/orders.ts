import { Type } from '@sinclair/typebox'
import { Count, Currency, Id, Nullable, NullableWord, Time, Word } from './common.ts'
import { Item } from './holds.ts'

export const OrderParams = Type.Object({ id: Type.String({ maxLength: 200, description: 'order_id' }) })

export const CreateOrderBody = Type.Object({ hold_id: Id('A live hold') }, { additionalProperties: false })

export const Order = Type.Object({
  order_id: Type.String(),
  hold_id: Type.String(),
  product_id: Nullable(Count('Of an order of one product', 1)),
  qty: Nullable(Count('Of an order of one product', 1)),
  items: Type.Array(Item),
  amount: Count('Sum in minor units'),
  currency: Currency,
  payment_status: Word(['pending', 'paid', 'failed'], 'What became of the payment'),
  order_status: Word(['pre-payment', 'confirmed', 'cancelled'], 'What became of the order'),
  cancel_reason: NullableWord(['payment_failed', 'payment_timeout', 'requested'], 'Why it was cancelled'),
  customer_id: Nullable(Type.String()),
  created_at: Time('When it was created'),
  pay_by: Time('Unpaid at this moment it is cancelled'),
})
