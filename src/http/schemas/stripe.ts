import { Type } from '@sinclair/typebox'
import { Count, Id, Nullable, Text } from './common.ts'

/*
  What is read of Stripe's events. Everything else in them is let be.
*/
const MAX_EVENT_ID_CHARS = 255

const Currency = Type.String({
  pattern: '^[A-Za-z]{3}$',
  description: 'ISO 4217, in small letters as a rule',
})
/** A PaymentIntent by its id, or unfolded. A session has none before somebody pays. */
const PaymentIntent = Type.Optional(
  Type.Union([Id('pi_…'), Type.Object({ id: Id('pi_…') }), Type.Null()], { description: 'What pays' }),
)

/** Any event, and any notification that only names what has happened. */
export const StripeEvent = Type.Object({ object: Type.Optional(Type.Unknown()), type: Type.String() })

/** An event of a type that may end the payment of an order. */
export const StripeOrderEvent = Type.Object({
  id: Text(MAX_EVENT_ID_CHARS, 'evt_…'),
  data: Type.Object({
    object: Type.Object({
      metadata: Type.Optional(
        Nullable(Type.Object({ order_id: Type.Optional(Type.Unknown()) }, { description: 'The shop’s own' })),
      ),
    }),
  }),
})

export const CompletedSession = Type.Object({ payment_status: Type.String() })
export const PaidSession = Type.Object({
  amount_total: Count('Minor units'),
  currency: Currency,
  payment_intent: PaymentIntent,
})
/** Nobody has paid, so its amount is nothing to look at. */
export const EndedSession = Type.Object({ payment_intent: PaymentIntent })

export const PaidIntent = Type.Object({
  id: Id('pi_…'),
  amount_received: Count('Minor units'),
  currency: Currency,
})
/** Likewise. */
export const EndedIntent = Type.Object({ id: Id('pi_…') })
