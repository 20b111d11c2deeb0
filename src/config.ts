import { isIP } from 'node:net'
import { type Static, Type } from '@sinclair/typebox'
import { envSchema } from 'env-schema'
import { parseClusterNodes } from './engine/nodes.ts'
import { StartError } from './errors.ts'

/** A name that leads to this machine alone, the address of IPv6 with or without its brackets. */
export const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1|\[::1\])$/
const STRIPE_SECRET = /^whsec_[A-Za-z0-9+/=_-]{16,}$/
const WEBHOOK_SECRET = /^whsec_[A-Za-z0-9+/]+={0,2}$/
/** Standard Webhooks asks for keys of 24 to 64 bytes. */
const SECRET_MIN_BYTES = 24
const SECRET_MAX_BYTES = 64

const PROXY_WORDS = ['loopback', 'linklocal', 'uniquelocal']

/** HS256 is as strong as its secret, which RFC 7518 wants no shorter than the hash. */
const JWT_SECRET_MIN_BYTES = 32

const Env = Type.Object({
  NODE_ENV: Type.Optional(Type.String()),
  PORT: Type.Integer({ minimum: 0, maximum: 65535, default: 3000 }),
  HOST: Type.String({ default: '127.0.0.1' }),
  REDIS_URL: Type.Optional(Type.String({ pattern: '^rediss?://' })),
  REDIS_CLUSTER_NODES: Type.Optional(Type.String()),
  DATABASE_URL: Type.Optional(Type.String({ pattern: '^postgres(ql)?://' })),
  DATA_DIR: Type.String({ default: '.data' }),
  ADMIN_TOKEN: Type.Optional(Type.String()),
  WEBHOOK_SECRETS: Type.Optional(Type.String()),
  STRIPE_WEBHOOK_SECRET: Type.Optional(Type.String()),
  HOLD_TTL_SECONDS: Type.Integer({ minimum: 1, maximum: 86_400, default: 120 }),
  ORDER_TTL_SECONDS: Type.Integer({ minimum: 1, maximum: 2_592_000, default: 900 }),
  SWEEPER: Type.Union([Type.Literal('inline'), Type.Literal('off')], { default: 'inline' }),
  STOCK_SHARDS: Type.Integer({ minimum: 1, maximum: 4096, default: 1 }),
  WORKERS: Type.Integer({ minimum: 1, maximum: 64, default: 1 }),
  LOG_LEVEL: Type.Union(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map((level) => Type.Literal(level)),
    { default: 'info' },
  ),
  TRUST_PROXY: Type.Optional(Type.String()),
  RATE_LIMIT_PER_MINUTE: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
  CUSTOMER_JWT_SECRET: Type.Optional(Type.String()),
  CUSTOMER_JWKS_URL: Type.Optional(Type.String({ pattern: '^https?://' })),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(Type.String({ pattern: '^https?://' })),
})

export type Config = Omit<
  Static<typeof Env>,
  'WEBHOOK_SECRETS' | 'STRIPE_WEBHOOK_SECRET' | 'LOG_LEVEL' | 'TRUST_PROXY'
> & {
  WEBHOOK_SECRETS: string[]
  /** From STRIPE_WEBHOOK_SECRET: more than one while a secret is being replaced. */
  STRIPE_WEBHOOK_SECRETS: string[]
  LOG_LEVEL: string
  /** What Fastify's `trustProxy` takes: true, a number of hops, or addresses. */
  TRUST_PROXY: boolean | number | string
  /** Whether HOST is reached from this machine alone. */
  is_loopback: boolean
}

type SchemaError = { instancePath?: string; message?: string; params?: { pattern?: string } }

const NUMBERS = Object.entries(Env.properties).flatMap(([name, { type }]) =>
  type === 'integer' ? [name] : [],
)

const SCHEMES = {
  REDIS_URL: 'redis:// or rediss://',
  DATABASE_URL: 'postgres:// or postgresql://',
  CUSTOMER_JWKS_URL: 'http:// or https://',
  OTEL_EXPORTER_OTLP_ENDPOINT: 'http:// or https://',
}

/** Reads `env/PORT must be integer` from what env-schema throws. */
function explain(error: unknown): string {
  const [first] = (error as { errors?: SchemaError[] }).errors ?? []
  if (!first?.instancePath) return (error as Error).message
  const name = first.instancePath.slice(1)
  const { anyOf } = Env.properties[name as keyof typeof Env.properties] as {
    anyOf?: Array<{ const: string }>
  }
  if (anyOf) return `${name} must be one of ${anyOf.map((choice) => choice.const).join(', ')}`
  if (first.params?.pattern) return `${name} must begin with ${SCHEMES[name as keyof typeof SCHEMES]}`
  return `${name} ${first.message}`
}

function parseSecrets(text: string | undefined): string[] {
  const secrets = text?.split(',') ?? []
  for (const secret of secrets) {
    const bytes = Buffer.from(secret.slice('whsec_'.length), 'base64').length
    if (!WEBHOOK_SECRET.test(secret) || bytes < SECRET_MIN_BYTES || bytes > SECRET_MAX_BYTES) {
      throw new StartError(
        `WEBHOOK_SECRETS must be a comma-separated list of whsec_ followed by ${SECRET_MIN_BYTES} to ${SECRET_MAX_BYTES} bytes in base64`,
      )
    }
  }
  return secrets
}

function parseStripeSecrets(text: string | undefined): string[] {
  const secrets = (text ?? '').split(',').filter((secret) => secret !== '')
  if (secrets.every((secret) => STRIPE_SECRET.test(secret))) return secrets
  throw new StartError(
    'STRIPE_WEBHOOK_SECRET must be a signing secret of Stripe: whsec_ and at least 16 letters or digits',
  )
}

/** One of Fastify's words for networks, an address, or a network such as 10.0.0.0/8. */
function isProxy(text: string): boolean {
  const [address = '', bits, ...more] = text.trim().split('/')
  if (bits === undefined && PROXY_WORDS.includes(address)) return true
  const max_bits = { 0: 0, 4: 32, 6: 128 }[isIP(address)] ?? 0
  const is_network = bits === undefined || (/^[1-9]\d*$/.test(bits) && Number(bits) <= max_bits)
  return max_bits > 0 && is_network && more.length === 0
}

function parseTrustProxy(text: string | undefined): boolean | number | string {
  if (text === undefined || text === 'false') return false
  if (text === 'true') return true
  if (/^\d+$/.test(text)) return Number(text)
  if (text.split(',').every(isProxy)) return text
  throw new StartError(
    `TRUST_PROXY must be true, false, a number of proxies, or a comma-separated list of addresses, networks, ${PROXY_WORDS.join(', ')}`,
  )
}

/** Who the customers are is said by tokens of one kind, or by the shop itself. */
function checkIdentity({ CUSTOMER_JWT_SECRET, CUSTOMER_JWKS_URL }: Static<typeof Env>): void {
  if (CUSTOMER_JWT_SECRET !== undefined && CUSTOMER_JWKS_URL !== undefined) {
    throw new StartError('CUSTOMER_JWT_SECRET and CUSTOMER_JWKS_URL can not both be set: unset one of them')
  }
  if (CUSTOMER_JWT_SECRET !== undefined && Buffer.byteLength(CUSTOMER_JWT_SECRET) < JWT_SECRET_MIN_BYTES) {
    throw new StartError(`CUSTOMER_JWT_SECRET must have at least ${JWT_SECRET_MIN_BYTES} bytes`)
  }
  if (CUSTOMER_JWKS_URL === undefined) return
  const { username, password } = new URL(CUSTOMER_JWKS_URL)
  if (username || password) throw new StartError('CUSTOMER_JWKS_URL must not carry a user or a password')
}

/** Redis is one server or a cluster. */
function checkCluster({ REDIS_URL, REDIS_CLUSTER_NODES }: Static<typeof Env>): void {
  if (REDIS_CLUSTER_NODES === undefined) return
  if (REDIS_URL !== undefined) {
    throw new StartError('REDIS_URL and REDIS_CLUSTER_NODES can not both be set: unset one of them')
  }
  try {
    parseClusterNodes(REDIS_CLUSTER_NODES)
  } catch {
    throw new StartError(
      'REDIS_CLUSTER_NODES must be a comma-separated list of host:port, of which the first may begin with redis://user:password@ or rediss://',
    )
  }
}

/**
 * The configuration, from the environment variables of the README; empty ones count as unset.
 * Throws StartError, in one line that names the variable.
 */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const data = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''))
  for (const name of NUMBERS) {
    // Coercion would also read 1e3, 0x10 and Infinity.
    if (!/^-?\d*$/.test(data[name] ?? '')) throw new StartError(`${name} must be integer`)
  }
  let read: Static<typeof Env>
  try {
    read = envSchema<Static<typeof Env>>({ schema: Env, data, env: false, dotenv: false })
  } catch (error) {
    throw new StartError(explain(error))
  }
  for (const name of Object.keys(SCHEMES) as Array<keyof typeof SCHEMES>) {
    if (read[name] !== undefined && !URL.canParse(read[name])) throw new StartError(`${name} is not a URL`)
  }
  checkIdentity(read)
  checkCluster(read)
  if (read.NODE_ENV === 'production') {
    for (const name of ['ADMIN_TOKEN', 'WEBHOOK_SECRETS', 'REDIS_URL', 'DATABASE_URL'] as const) {
      if (name === 'REDIS_URL' && read.REDIS_CLUSTER_NODES !== undefined) continue
      if (!read[name]) throw new StartError(`${name} must be set when NODE_ENV is production`)
    }
  }
  const { STRIPE_WEBHOOK_SECRET, ...others } = read
  return {
    ...others,
    STRIPE_WEBHOOK_SECRETS: parseStripeSecrets(STRIPE_WEBHOOK_SECRET),
    WEBHOOK_SECRETS: parseSecrets(read.WEBHOOK_SECRETS),
    TRUST_PROXY: parseTrustProxy(read.TRUST_PROXY),
    is_loopback: LOOPBACK.test(read.HOST),
  }
}
