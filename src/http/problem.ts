import type { FastifyReply } from 'fastify'

declare module 'fastify' {
  interface FastifyReply {
    /** With which refusal this request was answered. */
    problem_code?: ProblemCode
  }
}

/**
 * Every refusal that leaves the service: its stable code, HTTP status and title. The one place that knows statuses.
 * Sent as application/problem+json (RFC 9457).
 */
export const PROBLEMS = {
  validation_failed: [400, 'The request is not valid'],
  customer_required: [400, 'This product is sold to named customers only'],
  invalid_signature: [401, 'The webhook is not signed by a known secret'],
  unauthorized: [401, 'A valid bearer token is needed'],
  route_not_found: [404, 'There is no such route'],
  product_not_found: [404, 'There is no such product'],
  hold_not_found: [404, 'There is no such hold'],
  order_not_found: [404, 'There is no such order'],
  payment_not_found: [404, 'There is no such payment'],
  request_timeout: [408, 'The request took too long to arrive'],
  insufficient_stock: [409, 'Not enough units are free'],
  sale_not_started: [409, 'The sale has not started'],
  sale_ended: [409, 'The sale has ended'],
  sale_paused: [409, 'The sale is paused'],
  limit_exceeded: [409, 'More units than one buyer may have'],
  currency_mismatch: [409, 'The products are sold in different currencies'],
  not_in_one_shard: [409, 'These products can not be held together'],
  stock_in_use: [409, 'These units are held, in orders or sold'],
  hold_already_used: [409, 'The hold is an order already'],
  extension_limit: [409, 'The hold can not be extended further'],
  order_not_pending: [409, 'The order is not waiting for payment'],
  refund_not_due: [409, 'No money is due back for this payment'],
  hold_expired: [410, 'The hold has expired'],
  hold_released: [410, 'The hold was released'],
  body_too_large: [413, 'The body is too large'],
  unsupported_media_type: [415, 'Bodies are JSON'],
  idempotency_key_reused: [422, 'The idempotency key was used for another request'],
  rate_limited: [429, 'Too many requests'],
  header_too_large: [431, 'The headers are too large'],
  internal_error: [500, 'Something went wrong here'],
  unavailable: [503, 'The service can not answer at this moment'],
  recovering: [503, 'The service is recovering its state'],
} as const satisfies Record<string, readonly [status: number, title: string]>

export type ProblemCode = keyof typeof PROBLEMS

/** Seconds after which a request that met a 503 may be sent again. */
const RETRY_AFTER_SECONDS = 1

export type Problem = {
  type: string
  title: string
  status: number
  detail: string
  code: ProblemCode
} & Record<string, unknown>

/** A problem document. `more` are the members that belong to its code. */
export function problem(code: ProblemCode, detail?: string, more: Record<string, unknown> = {}): Problem {
  const [status, title] = PROBLEMS[code]
  return { type: `urn:holdfast:problem:${code}`, title, status, detail: detail ?? `${title}.`, code, ...more }
}

/** Answers with a problem. `retry_after_seconds` becomes Retry-After; a 503 always has one. */
export function sendProblem(
  reply: FastifyReply,
  code: ProblemCode,
  detail?: string,
  more: Record<string, unknown> = {},
  retry_after_seconds?: number,
): FastifyReply {
  return sendProblemText(reply, code, JSON.stringify(problem(code, detail, more)), retry_after_seconds)
}

/** The same with a document that is text already: a reply schema for 200 must never decide what a refusal says. */
export function sendProblemText(
  reply: FastifyReply,
  code: ProblemCode,
  text: string,
  retry_after_seconds?: number,
): FastifyReply {
  const [status] = PROBLEMS[code]
  const seconds = retry_after_seconds ?? (status === 503 ? RETRY_AFTER_SECONDS : undefined)
  if (seconds !== undefined) reply.header('retry-after', String(seconds))
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  reply.problem_code = code
  return reply.code(status).header('content-type', 'application/problem+json; charset=utf-8').send(text)
}
