import type { Static } from '@sinclair/typebox'
import type { FastifyReply } from 'fastify'
import { MAX_PRODUCT_AMOUNT, type Terms } from '../engine/products.ts'
import type { Lookup } from '../recovery/load.ts'
import { inTime } from './deadline.ts'
import { sendProblem } from './problem.ts'
import type { ChangeProductBody, CreateProductBody } from './schemas/products.ts'

/** What is wrong with a body: where, and what. */
export type Wrong = { path: string; message: string }

/** ISO 8601 has more years, but not with four digits; nothing was sold before 1970. */
const LAST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

/** A moment in ms, or NaN where there is none: JavaScript takes the 31st of February for the 3rd of March. */
function parseMoment(text: string): number {
  const [year = 0, month = 0, day = 0] = text.slice(0, 10).split('-').map(Number)
  const is_day = new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day
  const ms = is_day ? Date.parse(text) : Number.NaN
  return ms >= 0 && ms <= LAST_MS ? ms : Number.NaN
}

/** A term as the body states it, or as it was where the body does not name it. */
const stated = <Value, Other>(value: Value | undefined, other: Other): Value | Other =>
  value === undefined ? other : value

/** The terms of a product that has none yet. */
export const newTerms = (body: Static<typeof CreateProductBody>): Terms => ({
  name: body.name,
  unit_amount: body.unit_amount,
  currency: body.currency,
  hold_ttl_ms: null,
  starts_at_ms: null,
  ends_at_ms: null,
  paused: false,
  max_per_hold: null,
  max_per_customer: null,
})

/** These terms, changed as a body says, for a product with so many units; or what is wrong with the body then. */
export function readTerms(
  body: Static<typeof ChangeProductBody>,
  known: Terms,
  total: number,
): { terms: Terms } | { wrong: Wrong } {
  const moment = (time: string | null | undefined, before: number | null) =>
    typeof time === 'string' ? parseMoment(time) : stated(time, before)
  const ttl_ms = body.hold_ttl_seconds && body.hold_ttl_seconds * 1000
  const terms: Terms = {
    name: stated(body.name, known.name),
    unit_amount: stated(body.unit_amount, known.unit_amount),
    currency: stated(body.currency, known.currency),
    hold_ttl_ms: stated(ttl_ms, known.hold_ttl_ms),
    starts_at_ms: moment(body.starts_at, known.starts_at_ms),
    ends_at_ms: moment(body.ends_at, known.ends_at_ms),
    paused: stated(body.paused, known.paused),
    max_per_hold: stated(body.max_per_hold, known.max_per_hold),
    max_per_customer: stated(body.max_per_customer, known.max_per_customer),
  }
  const { starts_at_ms, ends_at_ms, unit_amount } = terms
  if (Number.isNaN(starts_at_ms)) return { wrong: { path: '/starts_at', message: 'is not a moment' } }
  if (Number.isNaN(ends_at_ms)) return { wrong: { path: '/ends_at', message: 'is not a moment' } }
  if (starts_at_ms !== null && ends_at_ms !== null && starts_at_ms >= ends_at_ms) {
    if (typeof body.ends_at === 'string') {
      return { wrong: { path: '/ends_at', message: 'must be later than starts_at' } }
    }
    return { wrong: { path: '/starts_at', message: 'must be earlier than ends_at' } }
  }
  if (total > MAX_PRODUCT_AMOUNT || total * unit_amount > MAX_PRODUCT_AMOUNT) {
    const path = 'total_stock' in body ? '/total_stock' : '/unit_amount'
    return { wrong: { path, message: 'makes the product worth more than can be counted' } }
  }
  return { terms }
}

/** Redis may have taken up to 2 s to say that it does not know the product, of the 3 s that are promised. */
const UNKNOWN_DEADLINE_MS = 800

/** Answers for a product that Redis does not know: there is none, unless Redis has lost it. */
export function createSendUnknown(lookup: Lookup) {
  return async (reply: FastifyReply, product_id: number): Promise<FastifyReply> => {
    const is_lost = await inTime(lookup.isProduct(product_id), UNKNOWN_DEADLINE_MS)
    return sendProblem(reply, is_lost ? 'recovering' : 'product_not_found', undefined, { product_id })
  }
}
