import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import type { Notice } from './notices.ts'

const HOUR_MS = 3_600_000

/** The headers and the body of a webhook, signed as Standard Webhooks say and spoilt where the notice says so; unsigned without a secret. */
export function sign(
  notice: Notice,
  text: string,
  secret: string,
): { headers: Record<string, string>; body: string } {
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (secret === '') return { headers, body: text }
  const at = new Date(notice.flaw === 'timestamp' ? Date.now() - HOUR_MS : Date.now())
  const used = notice.flaw === 'secret' ? `whsec_${randomBytes(32).toString('base64')}` : secret
  headers['webhook-id'] = notice.idempotency_key
  headers['webhook-timestamp'] = String(Math.floor(at.getTime() / 1000))
  headers['webhook-signature'] = new Webhook(used).sign(notice.idempotency_key, at, text)
  return { headers, body: notice.flaw === 'body' ? text.replace('}', ' }') : text }
}
