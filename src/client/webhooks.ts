import { Webhook } from 'standardwebhooks'
import type { paths } from './api.ts'

/** What a payment gateway announces. Under one key it has one effect. */
export type PaymentNotice =
  paths['/api/payments/webhook']['post']['requestBody']['content']['application/json']

/** A webhook that is ready to be sent: the body has to go out as it is, to the byte. */
export type SignedWebhook = { headers: Record<string, string>; body: string }

/**
 * Signs the announcement of a payment as Standard Webhooks say. It is accepted for five minutes.
 * @param secret one of WEBHOOK_SECRETS: whsec_ followed by base64
 */
export function signWebhook(
  secret: string,
  payment: PaymentNotice & { idempotency_key: string },
  now = new Date(),
): SignedWebhook {
  const body = JSON.stringify(payment)
  // A header takes less than a key may contain.
  const id = encodeURIComponent(payment.idempotency_key)
  return {
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': new Webhook(secret).sign(id, now, body),
    },
    body,
  }
}
