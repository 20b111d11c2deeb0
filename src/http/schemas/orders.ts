import { Type } from '@sinclair/typebox'
import { Count, Currency, Id, Nullable, NullableWord, PageQuery, Time, Word } from './common.ts'
import { Item } from './holds.ts'

export const OrderParams = Type.Object({ id: Type.String({ maxLength: 200, description: 'order_id' }) })

export const CreateOrderBody = Type.Object(
  { hold_id: Id('A live hold') },
  { additionalProperties: false, examples: [{ hold_id: 'hld_jZu8jHczExm5aNPo1a200defdaf0z58af3' }] },
)

const PAYMENT_STATUSES = ['pending', 'paid', 'failed'] as const
const ORDER_STATUSES = ['pre-payment', 'confirmed', 'cancelled'] as const

export const OrderQuery = Type.Object(
  {
    ...PageQuery.properties,
    payment_status: Type.Optional(Word(PAYMENT_STATUSES, 'Only those with this payment_status')),
    order_status: Type.Optional(Word(ORDER_STATUSES, 'Only those with this order_status')),
    product_id: Type.Optional(Count('Only those that have units of this product', 1)),
    customer_id: Type.Optional(Id('Only those of this customer')),
  },
  { additionalProperties: false },
)

export const Order = Type.Object(
  {
    order_id: Type.String(),
    hold_id: Type.String(),
    product_id: Nullable(Count('Of an order of one product', 1)),
    qty: Nullable(Count('Of an order of one product', 1)),
    items: Type.Array(Item),
    amount: Count('Sum in minor units'),
    currency: Currency,
    payment_status: Word(PAYMENT_STATUSES, 'What became of the payment'),
    order_status: Word(ORDER_STATUSES, 'What became of the order'),
    cancel_reason: NullableWord(['payment_failed', 'payment_timeout', 'requested'], 'Why it was cancelled'),
    customer_id: Nullable(Type.String()),
    created_at: Time('When it was created'),
    pay_by: Time('Unpaid at this moment it is cancelled'),
  },
  {
    examples: [
      {
        order_id: 'ord_jZu8jHczExm5aNPo1a200defdaf0z58af3',
        hold_id: 'hld_jZu8jHczExm5aNPo1a200defdaf0z58af3',
        product_id: 1,
        qty: 2,
        items: [{ product_id: 1, qty: 2, unit_amount: 9900 }],
        amount: 19800,
        currency: 'USD',
        payment_status: 'pending',
        order_status: 'pre-payment',
        cancel_reason: null,
        customer_id: 'c-17',
        created_at: '2026-11-27T12:01:00.000Z',
        pay_by: '2026-11-27T12:16:00.000Z',
      },
    ],
  },
)
