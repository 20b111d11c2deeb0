import type { Static, TSchema } from '@sinclair/typebox'
import { Ajv } from 'ajv'
import type { PaymentNotice } from '../engine/payments.ts'
import { validationErrors } from './errors.ts'
import {
  CompletedSession,
  EndedIntent,
  EndedSession,
  PaidIntent,
  PaidSession,
  StripeEvent,
  StripeOrderEvent,
} from './schemas/stripe.ts'

type Unreadable = { status: 'unreadable'; path: string; message: string }
/** `ignored` is what says nothing of the end of an order's payment; `path` says where an event can not be read. */
type Reading<Value> = { status: 'ignored' } | Unreadable | { status: 'read'; value: Value }
type Stated = Pick<PaymentNotice, 'status' | 'amount' | 'currency' | 'transaction_id'>

const IGNORED = { status: 'ignored' } as const
/** What an event is of which Stripe tells no more than that it happened. */
const THIN_EVENT = 'v2.core.event'

const ajv = new Ajv({ strict: false })

/** A way to read what follows a schema. `root` is where that stands in the event. */
function reader<Schema extends TSchema>(schema: Schema, root = '') {
  const follows = ajv.compile<Static<Schema>>(schema)
  return (value: unknown): Unreadable | { status: 'read'; value: Static<Schema> } => {
    if (follows(value)) return { status: 'read', value }
    const [first] = validationErrors(follows.errors ?? [])
    return {
      status: 'unreadable',
      path: root + (first?.path ?? ''),
      message: first?.message ?? 'can not be read',
    }
  }
}

/** A way to read what an object of an event states of a payment. */
function stating<Schema extends TSchema>(schema: Schema, state: (object: Static<Schema>) => Stated) {
  const read = reader(schema, '/data/object')
  return (object: unknown): Reading<Stated> => {
    const reading = read(object)
    return reading.status === 'read' ? { status: 'read', value: state(reading.value) } : reading
  }
}

const readEvent = reader(StripeEvent)
const readOrderEvent = reader(StripeOrderEvent)
const readCompleted = reader(CompletedSession, '/data/object')

const idOf = (thing: string | { id: string } | null | undefined): string | null =>
  typeof thing === 'object' ? (thing?.id ?? null) : (thing ?? null)

const readPaidSession = stating(PaidSession, ({ amount_total, currency, payment_intent }) => ({
  status: 'success',
  amount: amount_total,
  currency: currency.toUpperCase(),
  transaction_id: idOf(payment_intent),
}))

const readEndedSession = stating(EndedSession, ({ payment_intent }) => ({
  status: 'failed',
  amount: null,
  currency: null,
  transaction_id: idOf(payment_intent),
}))

const readPaidIntent = stating(PaidIntent, ({ id, amount_received, currency }) => ({
  status: 'success',
  amount: amount_received,
  currency: currency.toUpperCase(),
  transaction_id: id,
}))

const readEndedIntent = stating(EndedIntent, ({ id }) => ({
  status: 'failed',
  amount: null,
  currency: null,
  transaction_id: id,
}))

/** A session is complete before its money has come where the buyer chose a way to pay that takes its time. */
function readCompletedSession(object: unknown): Reading<Stated> {
  const completed = readCompleted(object)
  if (completed.status === 'unreadable') return completed
  return completed.value.payment_status === 'paid' ? readPaidSession(object) : IGNORED
}

/** The events that end a payment. A `payment_intent.payment_failed` does not: the buyer may try another card. */
const ENDS = new Map([
  ['checkout.session.completed', readCompletedSession],
  ['checkout.session.async_payment_succeeded', readPaidSession],
  ['checkout.session.async_payment_failed', readEndedSession],
  ['checkout.session.expired', readEndedSession],
  ['payment_intent.succeeded', readPaidIntent],
  ['payment_intent.canceled', readEndedIntent],
])

/**
 * What an event of Stripe says of the payment of an order. `findId` gives the id of an order that an `order_id` may name here, or
 * undefined: an event of any other order, or of none, is ignored before anybody looks at the rest of it.
 */
export function readStripeEvent(
  body: unknown,
  findId: (order_id: string) => string | undefined,
): Reading<PaymentNotice> {
  const event = readEvent(body)
  if (event.status === 'unreadable') return event
  const readObject = ENDS.get(event.value.type)
  if (!readObject || event.value.object === THIN_EVENT) return IGNORED
  const order_event = readOrderEvent(body)
  if (order_event.status === 'unreadable') return order_event
  const { id: idempotency_key, data } = order_event.value
  const named = data.object.metadata?.order_id
  const order_id = typeof named === 'string' ? findId(named) : undefined
  if (order_id === undefined) return IGNORED
  const stated = readObject(data.object)
  if (stated.status !== 'read') return stated
  const value = { ...stated.value, idempotency_key, order_id, payment_method: 'stripe', is_once: true }
  return { status: 'read', value }
}
