import { Type } from '@sinclair/typebox'
import { REFUND_REASONS } from '../../engine/records.ts'
import {
  Count,
  Currency,
  Id,
  IdempotencyKey,
  MAX_KEY_CHARS,
  Nullable,
  NullableWord,
  PageQuery,
  Text,
  Time,
  Word,
} from './common.ts'
import { Order } from './orders.ts'

export const PaymentHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    IdempotencyKey('The key, only where no secret is configured: no signature covers this header'),
  ),
})

export const PaymentBody = Type.Object(
  {
    idempotency_key: Type.Optional(
      Text(
        MAX_KEY_CHARS,
        'Under one key a payment has one effect; without it the signed webhook-id is the key',
      ),
    ),
    order_id: Id('As the hold named it'),
    status: Word(['success', 'failed', 'failure'], 'failure means failed'),
    amount: Type.Optional(Count('Minor units; must be that of the order')),
    currency: Type.Optional(Currency),
    payment_method: Type.Optional(Text(200, 'For your records')),
    transaction_id: Type.Optional(Text(200, 'For your records')),
  },
  {
    additionalProperties: false,
    examples: [
      {
        idempotency_key: 'pay-1',
        order_id: 'ord_jZu8jHczExm5aNPo1a200defdaf0z58af3',
        status: 'success',
        amount: 19800,
        currency: 'USD',
      },
    ],
  },
)

const OUTCOMES = ['parked', 'applied', 'ignored', 'refund_due'] as const
const Reason = NullableWord(REFUND_REASONS, 'Why money is due back')

export const PaymentParams = Type.Object({ idempotency_key: Text(MAX_KEY_CHARS, 'Of the payment') })

export const PaymentQuery = Type.Object(
  {
    ...PageQuery.properties,
    outcome: Type.Optional(Word(OUTCOMES, 'Only those with this outcome')),
    order_id: Type.Optional(Id('Only those of this order')),
    refunded: Type.Optional(
      Type.Boolean({ description: 'Only those that have been paid back, or have not' }),
    ),
  },
  { additionalProperties: false },
)

export const Payment = Type.Object(
  {
    idempotency_key: Type.String(),
    order_id: Type.String(),
    outcome: Word(OUTCOMES, 'As it stands after a parked payment was settled'),
    status: Word(['success', 'failed'], 'What the sender announced'),
    reason: Reason,
    amount: Nullable(Count('Minor units')),
    currency: Nullable(Currency),
    transaction_id: Nullable(Type.String()),
    created_at: Time('When it came first'),
    refunded_at: Nullable(Time('When somebody said that the money went back')),
  },
  {
    examples: [
      {
        idempotency_key: 'pay-1',
        order_id: 'ord_jZu8jHczExm5aNPo1a200defdaf0z58af3',
        outcome: 'refund_due',
        status: 'success',
        reason: 'already_paid',
        amount: 19800,
        currency: 'USD',
        transaction_id: 'tx_1',
        created_at: '2026-11-27T12:05:00.000Z',
        refunded_at: null,
      },
    ],
  },
)

export const PaymentResult = Type.Object(
  {
    outcome: Word([...OUTCOMES, 'duplicate'], 'What the payment did'),
    first_outcome: Type.Optional(Word(OUTCOMES, 'Of a duplicate: what was answered first')),
    reason: Type.Optional(Reason),
    order: Type.Union([Order, Type.Null()]),
  },
  { examples: [{ outcome: 'parked', order: null }] },
)
