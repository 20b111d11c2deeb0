import type { FastifyReply } from 'fastify'

declare module 'fastify' {
  interface FastifyReply {
    /** With which refusal this request was answered. */
    problem_code?: ProblemCode
  }
}

/**
 * Every refusal that leaves the service: its stable code, HTTP status, title, and what the client should do. The one place
 * that knows statuses; docs/errors.md and the table in /docs are made from it.
 * Sent as application/problem+json (RFC 9457).
 */
export const PROBLEMS = {
  validation_failed: [
    400,
    'The request is not valid',
    'Correct the request: `errors` names each wrong place. Sent again as it is, it fails again.',
  ],
  customer_required: [
    400,
    'This product is sold to named customers only',
    'Send `customer_id`: this product has `max_per_customer`.',
  ],
  invalid_signature: [
    401,
    'The webhook is not signed by a known secret',
    'Sign the raw body with the secret that the service has. Compare secrets and clocks: five minutes apart is too much.',
  ],
  unauthorized: [401, 'A valid bearer token is needed', 'Send `Authorization: Bearer …` with a valid token.'],
  foreign_origin: [
    403,
    'A foreign page asks',
    'Set `ADMIN_TOKEN` and send it, or ask from no page but the service’s own, by a name of loopback.',
  ],
  route_not_found: [404, 'There is no such route', 'Compare the method and the path with `/docs`.'],
  product_not_found: [404, 'There is no such product', 'Take ids from `GET /api/products`.'],
  hold_not_found: [
    404,
    'There is no such hold',
    'Place a new hold. The id is malformed, unknown, lost with Redis, or another customer’s.',
  ],
  order_not_found: [
    404,
    'There is no such order',
    'Check the id. With tokens, another customer’s order looks like this as well.',
  ],
  payment_not_found: [404, 'There is no such payment', 'Take the key from `GET /api/payments`.'],
  request_timeout: [
    408,
    'The request took too long to arrive',
    'Send the whole request within 10 seconds (its headers within 5).',
  ],
  insufficient_stock: [
    409,
    'Not enough units are free',
    'See `reason`. `too_many`: ask for `available` or fewer. `all_held`: try again after `Retry-After`. `sold_out`: give up.',
  ],
  sale_not_started: [409, 'The sale has not started', 'Wait for `starts_at` of the product.'],
  sale_ended: [409, 'The sale has ended', 'Give up: the sale is over.'],
  sale_paused: [409, 'The sale is paused', 'Try again later: the shop has paused the sale.'],
  limit_exceeded: [
    409,
    'More units than one buyer may have',
    'Ask for fewer units: `limit` says how many one hold or one customer may have.',
  ],
  currency_mismatch: [
    409,
    'The products are sold in different currencies',
    'Hold products of one currency together, others in another hold.',
  ],
  not_in_one_shard: [
    409,
    'These products can not be held together',
    'Hold them one by one, or create them with the same `shelf`.',
  ],
  stock_in_use: [409, 'These units are held, in orders or sold', 'Take out no more than `available`.'],
  hold_already_used: [409, 'The hold is an order already', 'Read the order: `order_id` names it.'],
  extension_limit: [
    409,
    'The hold can not be extended further',
    'Order now: three times the TTL after it was placed a hold ends.',
  ],
  order_not_pending: [
    409,
    'The order is not waiting for payment',
    'Read the order: it is paid or cancelled.',
  ],
  refund_not_due: [
    409,
    'No money is due back for this payment',
    'Read the payment: only one with outcome `refund_due` is paid back.',
  ],
  hold_expired: [410, 'The hold has expired', 'Place a new hold.'],
  hold_released: [410, 'The hold was released', 'Place a new hold.'],
  body_too_large: [
    413,
    'The body is too large',
    'Send less: 1 MiB at most, webhooks 64 KiB, events of Stripe 256 KiB.',
  ],
  unsupported_media_type: [415, 'Bodies are JSON', 'Send `Content-Type: application/json`.'],
  idempotency_key_reused: [
    422,
    'The idempotency key was used for another request',
    'Use a new key for a new request, and the old one only for the same request.',
  ],
  rate_limited: [429, 'Too many requests', 'Wait as long as `Retry-After` says.'],
  header_too_large: [431, 'The headers are too large', 'Send smaller headers.'],
  internal_error: [500, 'Something went wrong here', 'Report it with the `X-Request-Id`: this is a bug.'],
  unavailable: [
    503,
    'The service can not answer at this moment',
    'Send the same request with the same key again after `Retry-After`.',
  ],
  recovering: [
    503,
    'The service is recovering its state',
    'Send the same request with the same key again after `Retry-After`.',
  ],
} as const satisfies Record<string, readonly [status: number, title: string, remedy: string]>

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

/** All codes in a table of Markdown. */
export function problemTable(): string {
  const rows = Object.entries(PROBLEMS).map(
    ([code, [status, title, remedy]]) => `| \`${code}\` | ${status} | ${title} | ${remedy} |`,
  )
  return ['| code | status | title | what to do |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

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
