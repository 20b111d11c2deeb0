import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Idem } from '../engine/holds.ts'
import { sendInvalid } from './errors.ts'
import { fingerprint } from './json.ts'

const HEADER = 'idempotency-key'

/** Node joins a header that came twice; which of the two was meant can not be known. */
export function refuseDoubledKey(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  if (request.headers[HEADER] === undefined) {
    done()
    return
  }
  const { rawHeaders } = request.raw
  let count = 0
  for (let at = 0; at < rawHeaders.length; at += 2) if (rawHeaders[at]?.toLowerCase() === HEADER) count += 1
  if (count > 1) sendInvalid(reply, `/headers/${HEADER}`, 'must come once')
  else done()
}

/**
 * The Idempotency-Key of a request, or null. Keys of different `scope`s have nothing to do with each other, nor have those of
 * different customers: a customer's name is written so that it can not run into the key behind it.
 */
export function readIdem(request: FastifyRequest, scope: string): Idem | null {
  const { body, customer } = request
  const key = request.headers[HEADER]
  if (typeof key !== 'string') return null
  if (customer === null) return { scope, key, fingerprint: fingerprint(body) }
  return {
    scope: `${scope}@${encodeURIComponent(customer)}`,
    key,
    fingerprint: fingerprint([customer, body]),
  }
}

/**
 * The key under which a payment counts once, or undefined where it has none: that of the body, else the id that the webhook was
 * signed with. No signature covers the header: whoever captured a signed webhook could send it again under any other, and each
 * would be a payment of its own. So the header has a say only where nothing is signed.
 */
export function paymentKey(sent: {
  in_body: string | undefined
  in_header: string | undefined
  /** null where webhooks are not signed. */
  signed_id: string | null
}): string | undefined {
  return sent.in_body ?? sent.signed_id ?? sent.in_header
}

export const REPLAYED_HEADER = 'idempotency-replayed'
