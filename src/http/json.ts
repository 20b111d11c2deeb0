import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'

declare module 'fastify' {
  interface FastifyRequest {
    /** The body as it came, which is what a signature is over. */
    raw_body: Buffer | null
    /** Why the body of a signed request can not be read; said only to a sender whose signature is right. */
    body_error: BodyError | null
  }
  interface FastifyContextConfig {
    /** Whether a signature over the body is checked before anything else is said about it. */
    is_signed?: boolean
  }
}

/** Every string of a JSON text; in valid JSON one that a colon follows is a key. */
const STRINGS = /"(?:[^"\\]|\\.)*"(\s*:)?/g
/** What keeps a text from being counted in the fast way: an escape, or space before a colon. */
const SPACE_OR_ESCAPE = /\\|\s:/
const MAX_DEPTH = 32

/** A body that is not JSON as this service understands it. `message` says so to the sender. */
export class BodyError extends Error {
  override name = 'BodyError'
}

function countKeys(value: object, depth = 0): number {
  if (depth > MAX_DEPTH) throw new BodyError(`is nested deeper than ${MAX_DEPTH} levels`)
  const values = Object.values(value)
  let count = Array.isArray(value) ? 0 : values.length
  for (const one of values) if (typeof one === 'object' && one !== null) count += countKeys(one, depth + 1)
  return count
}

/** How often a quotation mark stands right before a colon. */
function countQuotedColons(text: string): number {
  let count = 0
  for (let at = text.indexOf('":'); at >= 0; at = text.indexOf('":', at + 2)) count += 1
  return count
}

/** Whether no object of a JSON text has a key twice, `keys` being the number of different ones. Exact, but slow. */
function hasEachKeyOnce(text: string, keys: number): boolean {
  let count = 0
  for (const match of text.matchAll(STRINGS)) if (match[1] !== undefined) count += 1
  return count === keys
}

/** Parses JSON in which no object has a key twice: of two such keys, two readers may see different ones. */
export function parseJson(body: Buffer): unknown {
  if (!isUtf8(body)) throw new BodyError('is not UTF-8')
  const text = body.toString()
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new BodyError('is not JSON')
  }
  if (typeof value !== 'object' || value === null) return value
  const keys = countKeys(value)
  // Every key counts once here, and so does text that begins with a colon: only where there are more it takes a closer look.
  const is_plain = !SPACE_OR_ESCAPE.test(text) && countQuotedColons(text) === keys
  if (!is_plain && !hasEachKeyOnce(text, keys)) throw new BodyError('has a key twice in one object')
  return value
}

/** Bodies are JSON, and their bytes are kept for the signature of a webhook. An empty body is none. */
export function addJsonParser(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.decorateRequest('raw_body', null)
  app.decorateRequest('body_error', null)
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const bytes = body as Buffer
    request.raw_body = bytes
    if (bytes.length === 0) return done(null, undefined)
    try {
      done(null, parseJson(bytes))
    } catch (error) {
      if (!request.routeOptions.config.is_signed) return done(error as Error)
      request.body_error = error as BodyError
      done(null, undefined)
    }
  })
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => [key, sorted(one)]),
  )
}

/** What tells one body from another, whatever the order of its keys: 128 bits of SHA-256. */
export function fingerprint(body: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(body)))
    .digest('base64url')
    .slice(0, 22)
}
