import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { problemTable } from './problem.ts'

export const VERSION = '0.1.0'
const DESCRIPTION = `Stock for flash sales: hold, order, pay.

Errors are RFC 9457 problems (\`application/problem+json\`) with a stable \`code\`. Any request may also meet \`request_timeout\`,
\`header_too_large\` or \`internal_error\`. The lines for curl take ids from \`$hold_id\`, \`$order_id\` and \`$payment_key\`, and the
admin's token from \`$ADMIN_TOKEN\`.

${problemTable()}`

const ORIGIN = 'http://127.0.0.1:3000'
/** Ids in examples, and the variables of a shell that stand for them. */
const VARIABLES = [
  [/hld_[A-Za-z0-9_-]{34}/g, '$hold_id'],
  [/ord_[A-Za-z0-9_-]{34}/g, '$order_id'],
] as const
const STREAM = 'text/event-stream'
/** Only Stripe can sign its events. */
const WITHOUT_CURL = '/api/payments/webhook/stripe'

type Content = Record<string, { example?: unknown; examples?: Record<string, { value: unknown }> }>
export type Operation = {
  tags: string[]
  description?: string
  security?: Array<Record<string, string[]>>
  parameters?: Array<{ name: string; in: string; required?: boolean; example?: unknown }>
  requestBody?: { content: Content }
  responses: Record<string, { description: string; content?: Content }>
}

/** The path with what a shell puts into it. */
function pathFor(path: string): string {
  const id = { products: '1', holds: '$hold_id', orders: '$order_id' }[path.split('/')[2] ?? ''] ?? ''
  return path.replace('{id}', id).replace('{idempotency_key}', '$payment_key')
}

/** The request as a line for a shell; its body is the first example. */
function curlOf(method: string, path: string, operation: Operation): string {
  const { security = [], parameters = [], requestBody, responses } = operation
  const asked = parameters.filter((one) => one.in === 'query' && one.required)
  const query = asked.map(({ name, example }) => `${name}=${example}`).join('&')
  const words = ['curl -s', `"${ORIGIN}${pathFor(path)}${query && `?${query}`}"`]
  if (STREAM in (responses[200]?.content ?? {})) words.push('-N --max-time 5')
  if (security[0]?.admin) words.push('-H "authorization: Bearer $ADMIN_TOKEN"')
  if (parameters.some((one) => one.in === 'header' && one.required))
    words.push('-H "idempotency-key: my-key-1"')
  const media = requestBody?.content['application/json']
  const body = media?.example ?? Object.values(media?.examples ?? {})[0]?.value
  if (method !== 'get' && !(method === 'post' && body)) words.push(`-X ${method.toUpperCase()}`)
  if (body) {
    let text = JSON.stringify(body)
    for (const [id, variable] of VARIABLES) text = text.replace(id, `'"${variable}"'`)
    words.push('-H "content-type: application/json"', `-d '${text}'`)
  }
  return words.join(' ')
}

/** Adds to every route a line to paste. */
function addCurl(paths: Record<string, Record<string, Operation>>): void {
  for (const [path, methods] of Object.entries(paths)) {
    if (path === WITHOUT_CURL) continue
    for (const [method, operation] of Object.entries(methods)) {
      const line = `\`\`\`sh\n${curlOf(method, path, operation)}\n\`\`\``
      operation.description = [operation.description ?? [], line].flat().join('\n\n')
    }
  }
}

const bearer = (description: string, more: object = {}) =>
  ({ type: 'http', scheme: 'bearer', description, ...more }) as const
const signature = (name: string, description: string) =>
  ({ type: 'apiKey', in: 'header', name, description }) as const

/** Serves the OpenAPI document, and a page that shows it. To be called before the routes are added. */
export async function addDocs(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Holdfast',
        version: VERSION,
        description: DESCRIPTION,
        license: { name: 'MIT', identifier: 'MIT' },
      },
      components: {
        securitySchemes: {
          admin: bearer('ADMIN_TOKEN'),
          customer: bearer(
            'Whose `sub` is the customer; needed where the service is configured with tokens',
            { bearerFormat: 'JWT' },
          ),
          webhook: signature(
            'webhook-signature',
            'As Standard Webhooks say, with `webhook-id` and `webhook-timestamp`, by one of WEBHOOK_SECRETS',
          ),
          stripe: signature('stripe-signature', 'Made by Stripe with STRIPE_WEBHOOK_SECRET'),
        },
      },
      tags: ['Products', 'Holds', 'Orders', 'Payments', 'Operations'].map((name) => ({ name })),
    },
    transformObject: (document) => {
      if (!('openapiObject' in document)) return document.swaggerObject
      const copy = JSON.parse(JSON.stringify(document.openapiObject))
      addCurl(copy.paths)
      return copy
    },
  })
  await app.register(swaggerUi, { routePrefix: '/docs' })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
}
