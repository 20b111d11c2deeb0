import { type TInteger, type TSchema, Type } from '@sinclair/typebox'
import type { RouteOptions } from 'fastify'
import { PROBLEMS, type ProblemCode, problem } from '../problem.ts'

/** Text without control characters and halves of surrogate pairs: what PostgreSQL and every client can hold. */
const CLEAN_TEXT = '^[^\\u0000-\\u001f\\u007f\\ud800-\\udfff]+$'
const HEADER_TEXT = '^[\\x20-\\x7e]+$'
export const MAX_LIMIT = 100
export const DEFAULT_LIMIT = 20
/** A cursor may carry an idempotency key of 255 characters of four bytes each, in base64. */
const MAX_CURSOR_CHARS = 1_500

const MAX_ID_CHARS = 200
export const MAX_KEY_CHARS = 255

export const Text = (max: number, description: string) =>
  Type.String({ minLength: 1, maxLength: max, pattern: CLEAN_TEXT, description })
export const Id = (description: string) => Text(MAX_ID_CHARS, description)
const CLEAN = new RegExp(CLEAN_TEXT, 'u')
const isText = (text: string, max: number) => CLEAN.test(text) && [...text].length <= max
/** Whether a text that comes by another way than a body could stand there as an id. */
export const isId = (text: string) => isText(text, MAX_ID_CHARS)
/** Likewise as an idempotency key. */
export const isKey = (text: string) => isText(text, MAX_KEY_CHARS)
export const Time = (description: string) =>
  Type.String({ description, examples: ['2026-01-31T12:00:00.000Z'] })
export const Count = (description: string, minimum = 0) =>
  Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER, description })
export const Currency = Type.String({ pattern: '^[A-Z]{3}$', description: 'ISO 4217', examples: ['USD'] })

/** A value or null, in the form that serializes fastest. */
export const Nullable = <Schema extends TSchema>(schema: Schema) =>
  Type.Unsafe<Schema['static'] | null>({ ...schema, type: [schema.type, 'null'] })
/** One of some words, or null. */
export const NullableWord = <Word extends string>(words: readonly Word[], description: string) =>
  Type.Unsafe<Word | null>({ type: ['string', 'null'], enum: [...words, null], description })
export const Word = <const Words extends readonly string[]>(words: Words, description: string) =>
  Type.Unsafe<Words[number]>({ type: 'string', enum: words, description })

/** A reply that is text of some type. */
export const TextReply = (type: string, description: string) =>
  Type.Unsafe<string>({ description, content: { [type]: { schema: { type: 'string' } } } })

const examplesOf = (schema: TSchema, wrap: (example: unknown) => unknown) =>
  schema.examples ? { examples: (schema.examples as unknown[]).map(wrap) } : {}
export const Data = <Schema extends TSchema>(schema: Schema) =>
  Type.Object(
    { data: schema },
    examplesOf(schema, (data) => ({ data })),
  )
export const Page = <Schema extends TSchema>(schema: Schema) =>
  Type.Object(
    {
      data: Type.Array(schema),
      meta: Type.Object({
        next_cursor: Nullable(Type.String({ description: 'Where the next page starts' })),
      }),
    },
    examplesOf(schema, (one) => ({ data: [one], meta: { next_cursor: null } })),
  )

/** Documented as optional, and always there for a route: the validator fills in the default. */
const Limit = Type.Optional(
  Type.Integer({ minimum: 1, maximum: MAX_LIMIT, default: DEFAULT_LIMIT, description: 'Rows of a page' }),
) as unknown as TInteger

export const PageQuery = Type.Object(
  {
    limit: Limit,
    cursor: Type.Optional(Text(MAX_CURSOR_CHARS, 'next_cursor of the page before')),
  },
  { additionalProperties: false },
)

export const IdempotencyKey = (description: string) =>
  Type.String({ minLength: 1, maxLength: MAX_KEY_CHARS, pattern: HEADER_TEXT, description })

export const IdempotencyHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    IdempotencyKey('The same key with the same body has one effect and one answer, for 24 hours'),
  ),
})

export const RequiredIdempotencyHeaders = Type.Object({
  'idempotency-key': IdempotencyKey('The same key for the same product has one effect, for ever'),
})

export const Problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String({ description: 'Stable, for programs' }),
  },
  { additionalProperties: true, description: 'RFC 9457' },
)

/** Members that belong to a code, as an example shows them. */
const MEMBERS: Partial<Record<ProblemCode, object>> = {
  validation_failed: { errors: [{ path: '/qty', message: 'must be integer' }] },
  insufficient_stock: { reason: 'all_held', available: 0 },
  limit_exceeded: { limit: 2 },
  stock_in_use: { available: 10 },
  hold_already_used: { order_id: 'ord_jZu8jHczExm5aNPo1a200defdaf0z58af3' },
}
const exampleOf = (code: ProblemCode) => problem(code, undefined, { ...MEMBERS[code] })

/** The refusals that have one status, each code with an example. */
function refusal(codes: Iterable<ProblemCode>) {
  const examples = Object.fromEntries([...codes].map((code) => [code, { value: exampleOf(code) }]))
  return {
    description: Object.keys(examples).join(', '),
    content: { 'application/problem+json': { schema: Problem, examples } },
  }
}

type Refusal = ReturnType<typeof refusal>

const statusOf = (code: ProblemCode) => PROBLEMS[code][0]

function addRefusal(response: Record<number, unknown>, code: ProblemCode): void {
  const known = response[statusOf(code)] as Refusal | undefined
  const codes = Object.keys(known?.content['application/problem+json'].examples ?? {}) as ProblemCode[]
  response[statusOf(code)] = refusal([...codes, code])
}

/** How a route may be refused that needs a shard and its Redis. */
export const AWAY = ['unavailable', 'recovering'] as const
/** How a route may be refused that is the admin's. */
export const NOT_ADMIN = ['unauthorized', 'foreign_origin'] as const

/**
 * The replies of a route: its successes, and refusals with the given codes besides those that hooks add.
 */
export function replies<Successes extends Record<number, TSchema>>(
  successes: Successes,
  refused: readonly ProblemCode[],
) {
  const refusals: Record<number, unknown> = {}
  for (const code of refused) addRefusal(refusals, code)
  return { ...successes, ...(refusals as Record<4, typeof Problem>) }
}

/** Adds a code to the documented refusals of a route, for what is decided before the route is reached. */
export function alsoRefused(route: RouteOptions, code: ProblemCode): void {
  const response = route.schema?.response as Record<number, unknown> | undefined
  if (!response) return
  const more = { ...response }
  addRefusal(more, code)
  route.schema = { ...route.schema, response: more }
}
