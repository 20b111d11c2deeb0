import { type Logger, pino } from 'pino'

const HIDDEN = '[hidden]'

/** What tells a secret by its looks, in the text of a line, where quotes come escaped as well. */
const SECRETS: Array<[pattern: RegExp, instead: string]> = [
  // The password of a URL, such as DATABASE_URL's.
  [/(\w+:\/\/[^\s:/@"]*):[^\s@"/]+@/g, `$1:${HIDDEN}@`],
  [/whsec_[\w+/=-]+/g, HIDDEN],
  [/\bsk_(live|test)_\w+/g, HIDDEN],
  // Tokens of customers.
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, HIDDEN],
  [/\b(bearer|basic)\s+[^\s"\\,]+/gi, `$1 ${HIDDEN}`],
  // Headers and settings by their names, as JSON or as text: all up to the end of the value.
  [
    /((?:authorization|cookie|webhook-signature|stripe-signature|password|admin_token|webhook_secrets|customer_jwt_secret)\\?"?\s*[:=]\s*\\?"?)[^"\\\n]+/gi,
    `$1${HIDDEN}`,
  ],
]

/** The same text without what looks like a password, a token, a signature or a secret, and without `secrets`. */
export function hideSecrets(text: string, secrets: readonly string[] = []): string {
  let hidden = text
  for (const secret of secrets) hidden = hidden.replaceAll(secret, HIDDEN)
  for (const [pattern, instead] of SECRETS) hidden = hidden.replace(pattern, instead)
  return hidden
}

/** Shorter ones would hide words that happen to be the same. */
const SECRET_MIN_CHARS = 6

/** The passwords and tokens that the environment names, as they stand there and as JSON writes them. */
export function secretsOf(env: NodeJS.ProcessEnv): string[] {
  const { ADMIN_TOKEN, CUSTOMER_JWT_SECRET, WEBHOOK_SECRETS = '', STRIPE_WEBHOOK_SECRET = '' } = env
  const passwords = [env.DATABASE_URL, env.REDIS_URL, env.REDIS_CLUSTER_NODES?.split(',')[0]].flatMap(
    (url) => {
      if (!url || !URL.canParse(url)) return []
      const { password } = new URL(url)
      return [password, decodeURIComponent(password)]
    },
  )
  const named = [
    ADMIN_TOKEN,
    CUSTOMER_JWT_SECRET,
    ...WEBHOOK_SECRETS.split(','),
    ...STRIPE_WEBHOOK_SECRET.split(','),
  ]
  const all = [...named, ...passwords].filter((text) => text !== undefined && text.length >= SECRET_MIN_CHARS)
  return [...new Set((all as string[]).flatMap((text) => [text, JSON.stringify(text).slice(1, -1)]))]
}

/** The log of the process, a line of JSON each. Whatever a line is about, no secret of `env` is in it. */
export function createLog(
  level: string,
  env: NodeJS.ProcessEnv = process.env,
  destination?: { write(line: string): void },
): Logger {
  const secrets = secretsOf(env)
  const options = { level, hooks: { streamWrite: (line: string) => hideSecrets(line, secrets) } }
  return destination ? pino(options, destination) : pino(options)
}
