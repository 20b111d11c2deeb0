import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import type { Operation } from '../../src/http/docs.ts'
import { PROBLEMS, problemTable } from '../../src/http/problem.ts'
import { build } from '../fixtures/app.ts'

const ADMIN_TOKEN = 'an-admin-token-of-some-length'
const app = await build(t, { env: { ADMIN_TOKEN } })
const document = JSON.parse(JSON.stringify(app.app.swagger()))
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods as Record<string, Operation>).map(
    ([method, operation]) => [method, path, operation] as const,
  ),
)

t.test('the document is valid OpenAPI 3.1', async (t) => {
  const validator = new Validator()
  const { valid, errors } = await validator.validate(structuredClone(document))
  t.ok(valid, JSON.stringify(errors))
  t.equal(validator.version, '3.1')
})

t.test('control: a document with a response that has no description is not', async (t) => {
  const broken = structuredClone(document)
  delete broken.paths['/healthz'].get.responses[200].description
  t.notOk((await new Validator().validate(broken)).valid)
})

t.test('every route has a known tag, a summary and a statement of who may call it', async (t) => {
  const tags = document.tags.map(({ name }: { name: string }) => name)
  const schemes = Object.keys(document.components.securitySchemes)
  for (const [method, path, operation] of operations) {
    const name = `${method} ${path}`
    t.match(operation, { summary: /./ }, name)
    t.ok(
      operation.tags.every((tag) => tags.includes(tag)),
      name,
    )
    t.ok(Array.isArray(operation.security), `${name} says who may call it`)
    for (const one of operation.security ?? [])
      for (const scheme of Object.keys(one)) t.ok(schemes.includes(scheme))
  }
})

t.test('the description has every code, with what to do about it', async (t) => {
  t.ok(document.info.description.includes(problemTable()))
  for (const code of Object.keys(PROBLEMS)) t.match(problemTable(), `| \`${code}\` |`)
})

/** Every example of a body, with the schema that it has to follow. */
function* examples() {
  for (const [method, path, { requestBody, responses }] of operations) {
    const bodies = [['request', requestBody] as const, ...Object.entries(responses)]
    for (const [what, body] of bodies) {
      for (const [type, media] of Object.entries(body?.content ?? {})) {
        const { schema, example, examples = {} } = media as typeof media & { schema: object }
        const values = [
          ...(example === undefined ? [] : [example]),
          ...Object.values(examples).map(({ value }) => value),
        ]
        yield { name: `${method} ${path} ${what}`, type, schema, values }
      }
    }
  }
}

t.test('every JSON body has examples, and each follows its schema', async (t) => {
  const ajv = new Ajv2020({ strict: false })
  for (const { name, type, schema, values } of examples()) {
    if (!type.endsWith('json')) continue
    t.ok(values.length > 0, `${name} has an example`)
    const validate = ajv.compile(schema)
    for (const value of values) t.ok(validate(value), `${name}: ${JSON.stringify(validate.errors)}`)
  }
})

t.test('every line for curl gets a documented success when it is pasted', async (t) => {
  const headers = { authorization: `Bearer ${ADMIN_TOKEN}` }
  t.equal(await app.product(1000), 1, 'the first product of a new database')
  for (const [method, path, operation] of operations) {
    const name = `${method} ${path}`
    const [, line] = /```sh\n(.*?)\n```/s.exec(operation.description ?? '') ?? []
    if (path.endsWith('/stripe')) {
      t.equal(line, undefined, 'only Stripe signs its events')
      continue
    }
    if (line === undefined) {
      t.fail(`${name} has no line`)
      continue
    }
    // One of the lines pauses the sale.
    await app.call('PATCH', '/api/products/1', { paused: false }, { headers })
    const { hold_id } = await app.hold(1, 2)
    const { order_id } = await app.order(await app.hold(1, 2))
    const doubled = await app.order(await app.hold(1, 2))
    const payment = { order_id: doubled.order_id, status: 'success' }
    for (const which of ['first', 'second']) {
      const idempotency_key = `${which}-${doubled.order_id}`
      await app.call('POST', '/api/payments/webhook', { ...payment, idempotency_key }, { headers })
    }
    const env = { ...process.env, ADMIN_TOKEN, hold_id, order_id, payment_key: `second-${doubled.order_id}` }
    const command = `${line.replace('http://127.0.0.1:3000', app.origin)} -w '\\n%{http_code}'`
    // curl ends with 28 where a stream is cut off after its time.
    const { stdout } = await promisify(execFile)('bash', ['-c', command], { env }).catch((error) => error)
    const status = stdout.trim().split('\n').at(-1)
    t.match(status, /^2/, `${name}: ${stdout}`)
    t.ok(operation.responses[status], `${name}: ${status} is documented`)
  }
})
