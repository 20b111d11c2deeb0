import type { FastifyReply, FastifyRequest } from 'fastify'
import { Webhook } from 'standardwebhooks'
import type { Config } from '../config.ts'
import { sendProblem } from './problem.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The `webhook-id` that the signature covers, or null where webhooks are not signed. */
    signed_id: string | null
  }
}

/**
 * Lets a webhook pass that one of the secrets has signed, as Standard Webhooks says: over id, timestamp and the bytes of the
 * body, at most five minutes old, and notes the id. Without secrets unsigned webhooks pass, but only on a loopback address.
 */
export function createSignatureCheck(config: Config) {
  const webhooks = config.WEBHOOK_SECRETS.map((secret) => new Webhook(secret))

  function isSigned(request: FastifyRequest): boolean {
    if (webhooks.length === 0) return config.is_loopback
    const headerOf = (name: string) => String(request.headers[name] ?? '')
    const headers = Object.fromEntries(
      ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => [name, headerOf(name)]),
    )
    return webhooks.some((webhook) => {
      try {
        webhook.verify(request.raw_body ?? '', headers, { jsonParse: false })
        request.signed_id = headerOf('webhook-id')
        return true
      } catch {
        return false
      }
    })
  }

  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (!isSigned(request)) await sendProblem(reply, 'invalid_signature')
    else if (request.body_error) throw request.body_error
  }
}
