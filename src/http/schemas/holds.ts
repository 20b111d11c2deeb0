import { Type } from '@sinclair/typebox'
import { Count, Currency, Id, Nullable, PageQuery, Time, Word } from './common.ts'

export const MAX_ITEMS = 10

export const HoldParams = Type.Object({ id: Type.String({ maxLength: 200, description: 'hold_id' }) })

export const HoldQuery = Type.Object(
  {
    ...PageQuery.properties,
    product_id: Type.Optional(Count('Only those that have units of this product', 1)),
  },
  { additionalProperties: false },
)

const Line = {
  product_id: Count('Product id', 1),
  qty: Count('Units', 1),
}

export const PlaceHoldBody = Type.Object(
  {
    product_id: Type.Optional(Line.product_id),
    qty: Type.Optional(Line.qty),
    items: Type.Optional(
      Type.Array(Type.Object(Line, { additionalProperties: false }), { minItems: 1, maxItems: MAX_ITEMS }),
    ),
    customer_id: Type.Optional(Id('Who holds; needed where the product has max_per_customer')),
  },
  {
    additionalProperties: false,
    description: 'Either product_id and qty, or items: all of them or none',
    examples: [
      { product_id: 1, qty: 2 },
      { items: [{ product_id: 1, qty: 2 }], customer_id: 'c-17' },
    ],
  },
)

export const Item = Type.Object({
  product_id: Count('Product id', 1),
  qty: Count('Units', 1),
  unit_amount: Count('Price of a unit in minor units, locked for the life of the hold'),
})

export const Hold = Type.Object(
  {
    hold_id: Type.String(),
    order_id: Type.String({ description: 'The id that the order made from this hold will have' }),
    status: Word(['active', 'ordered'], 'ordered: the hold is an order'),
    product_id: Nullable(Count('Of a hold on one product', 1)),
    qty: Nullable(Count('Of a hold on one product', 1)),
    items: Type.Array(Item),
    amount: Count('Sum in minor units'),
    currency: Currency,
    customer_id: Nullable(Type.String()),
    created_at: Time('When it was placed'),
    expires_at: Time('From this millisecond on it is dead'),
  },
  {
    examples: [
      {
        hold_id: 'hld_jZu8jHczExm5aNPo1a200defdaf0z58af3',
        order_id: 'ord_jZu8jHczExm5aNPo1a200defdaf0z58af3',
        status: 'active',
        product_id: 1,
        qty: 2,
        items: [{ product_id: 1, qty: 2, unit_amount: 9900 }],
        amount: 19800,
        currency: 'USD',
        customer_id: 'c-17',
        created_at: '2026-11-27T12:00:00.000Z',
        expires_at: '2026-11-27T12:02:00.000Z',
      },
    ],
  },
)
