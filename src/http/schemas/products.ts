import { Type } from '@sinclair/typebox'
import { Count, Currency, Nullable, Text, Time, Word } from './common.ts'

export const ProductParams = Type.Object({
  id: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Product id' }),
})

const MAX_FOLLOWED = 100
export const FollowQuery = Type.Object(
  {
    product_ids: Type.String({
      pattern: `^[1-9][0-9]{0,14}(,[1-9][0-9]{0,14}){0,${MAX_FOLLOWED - 1}}$`,
      description: `Product ids, at most ${MAX_FOLLOWED}, with commas between them`,
      examples: ['1'],
    }),
  },
  { additionalProperties: false },
)

const MAX_TTL_SECONDS = 86_400
const Moment = (description: string) =>
  Type.String({
    pattern:
      '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,3})?(Z|[+-][0-9]{2}:[0-9]{2})$',
    description,
    examples: ['2026-11-27T12:00:00.000Z'],
  })

/** The terms of sale that have a default. */
const TERMS = {
  starts_at: Type.Optional(Nullable(Moment('When the sale starts'))),
  ends_at: Type.Optional(Nullable(Moment('When the sale ends'))),
  hold_ttl_seconds: Type.Optional(
    Nullable(Type.Integer({ minimum: 1, maximum: MAX_TTL_SECONDS, description: 'How long a hold lives' })),
  ),
  max_per_hold: Type.Optional(Nullable(Count('Units of one hold at most', 1))),
  max_per_customer: Type.Optional(Nullable(Count('Units of one customer at most', 1))),
}
const Name = Text(200, 'What buyers see')
const UnitAmount = Count('Price of a unit in minor units')

export const CreateProductBody = Type.Object(
  {
    name: Name,
    unit_amount: UnitAmount,
    currency: Currency,
    total_stock: Count('Units on sale'),
    ...TERMS,
    shelf: Type.Optional(
      Text(200, 'Products of one shelf can be held together, in one cart; it can not be changed'),
    ),
  },
  {
    additionalProperties: false,
    examples: [
      { name: 'Shoe', unit_amount: 9900, currency: 'USD', total_stock: 100 },
      {
        name: 'Shoe, two a buyer',
        unit_amount: 9900,
        currency: 'USD',
        total_stock: 100,
        hold_ttl_seconds: 300,
        max_per_customer: 2,
      },
    ],
  },
)

export const ChangeProductBody = Type.Object(
  {
    name: Type.Optional(Name),
    unit_amount: Type.Optional(UnitAmount),
    currency: Type.Optional(Currency),
    ...TERMS,
    paused: Type.Optional(Type.Boolean({ description: 'Whether new holds are refused for now' })),
  },
  {
    additionalProperties: false,
    minProperties: 1,
    description: 'What is not named stays as it is; null takes a term away',
    examples: [{ paused: true }, { ends_at: null, unit_amount: 7900 }],
  },
)

export const StockBody = Type.Object(
  {
    delta: Type.Integer({
      minimum: -Number.MAX_SAFE_INTEGER,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'Units to add or, negative, free ones to take out; not 0',
    }),
    reason: Type.Optional(Text(200, 'For your records')),
  },
  { additionalProperties: false, examples: [{ delta: 50, reason: 'found a box' }] },
)

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
export const StockWithState = Type.Object(
  { ...STOCK, state: State },
  { examples: [{ total: 100, available: 85, held: 10, pending: 2, sold: 3, state: 'available' }] },
)

const PRODUCT = {
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
}

const EXAMPLES = {
  examples: [
    {
      id: 1,
      name: 'Shoe',
      unit_amount: 9900,
      currency: 'USD',
      available_stock: 85,
      stock: { total: 100, available: 85, held: 10, pending: 2, sold: 3 },
      state: 'available',
      starts_at: null,
      ends_at: null,
      hold_ttl_seconds: 120,
      max_per_hold: null,
      max_per_customer: null,
    },
  ],
}

export const Product = Type.Object(PRODUCT, EXAMPLES)
export const ShelvedProduct = Type.Object(
  { ...PRODUCT, shelf: Type.Optional(Type.String({ description: 'Where the product has one' })) },
  EXAMPLES,
)
