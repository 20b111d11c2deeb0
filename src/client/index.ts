import createFetchClient, { type Client } from 'openapi-fetch'
import type { paths } from './api.ts'
import { type RetryOptions, retrying } from './retry.ts'
import { type PaymentNotice, signWebhook } from './webhooks.ts'

export type { paths } from './api.ts'
export { type PaymentNotice, type SignedWebhook, signWebhook } from './webhooks.ts'

type Reply<
  Path extends keyof paths,
  Method extends keyof paths[Path],
  Status extends number,
> = paths[Path][Method] extends {
  responses: { [One in Status]: { content: { 'application/json': { data: infer Data } } } }
}
  ? Data
  : never

export type Product = Reply<'/api/products/{id}', 'get', 200>
export type Hold = Reply<'/api/holds', 'post', 201>
export type Order = Reply<'/api/orders', 'post', 201>

export type ClientOptions = RetryOptions & {
  /** Where Holdfast is, such as http://127.0.0.1:3000. */
  url: string
  /** The token of a customer or of the admin; a function is asked before each request. */
  token?: string | (() => string | Promise<string>)
}

export type Holdfast = Client<paths>

/**
 * A typed client: `client.POST('/api/holds', { body })` resolves to `{ data, error, response }`, typed after the OpenAPI
 * document. Holds and orders get an Idempotency-Key where none is given; a 503 is tried again with the same key.
 */
export function createClient(options: ClientOptions): Holdfast {
  const { url, token, ...retry } = options
  const send = retrying(retry)
  return createFetchClient<paths>({
    baseUrl: url,
    fetch: async (request) => {
      const text = typeof token === 'function' ? await token() : token
      if (text !== undefined) request.headers.set('authorization', `Bearer ${text}`)
      return send(request)
    },
  })
}

/** Announces a payment, signed; sent again under its own key while the answer is 503. */
export function announcePayment(
  client: Holdfast,
  secret: string,
  payment: PaymentNotice & { idempotency_key: string },
) {
  const { headers, body } = signWebhook(secret, payment)
  return client.POST('/api/payments/webhook', {
    headers,
    body: payment,
    bodySerializer: () => body,
  })
}
