import { Type } from '@sinclair/typebox'
import { Count, Currency, Id, NullableWord, Text, Word } from './common.ts'
import { Order } from './orders.ts'

export const PaymentBody = Type.Object(
  {
    idempotency_key: Type.Optional(Text(255, 'May come in the Idempotency-Key header instead')),
    order_id: Id('As the hold named it'),
    status: Word(['success', 'failed', 'failure'], 'failure means failed'),
    amount: Type.Optional(Count('Minor units; must be that of the order')),
    currency: Type.Optional(Currency),
    payment_method: Type.Optional(Text(200, 'For your records')),
    transaction_id: Type.Optional(Text(200, 'For your records')),
  },
  { additionalProperties: false },
)

const OUTCOMES = ['parked', 'applied', 'ignored', 'refund_due'] as const

export const PaymentResult = Type.Object({
  outcome: Word([...OUTCOMES, 'duplicate'], 'What the payment did'),
  first_outcome: Type.Optional(Word(OUTCOMES, 'Of a duplicate: what was answered first')),
  reason: Type.Optional(
    NullableWord(
      ['amount_mismatch', 'already_paid', 'order_cancelled', 'no_units_left'],
      'Why money is due back',
    ),
  ),
  order: Type.Union([Order, Type.Null()]),
})
