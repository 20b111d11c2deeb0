import { createRemoteJWKSet, errors, type JWTVerifyGetKey, jwtVerify } from 'jose'
import type { Config } from '../config.ts'
import { UnavailableError } from '../errors.ts'
import { isId } from './schemas/common.ts'

/** With what a request may still take afterwards, the answer comes within 3 s. */
const FETCH_TIMEOUT_MS = 1_000
/** A token with an unknown key makes the set be fetched again, but not more often. */
const COOLDOWN_MS = 30_000
/** How long a key that was withdrawn may still be believed. */
const KEYS_MAX_AGE_MS = 600_000
/** A set of public keys must never be taken for the secret of an HMAC. */
const ASYMMETRIC = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
]

/** The customer whom a token names, or undefined where it is not valid at this moment. */
export type ReadCustomer = (token: string) => Promise<string | undefined>

/** What is wrong with the token itself when no key is found for it; all else is wrong with the set of keys. */
function blamesToken(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  )
}

function remoteKeys(url: string): JWTVerifyGetKey {
  const keys = createRemoteJWKSet(new URL(url), {
    timeoutDuration: FETCH_TIMEOUT_MS,
    cooldownDuration: COOLDOWN_MS,
    cacheMaxAge: KEYS_MAX_AGE_MS,
  })
  return async (header, token) => {
    try {
      return await keys(header, token)
    } catch (error) {
      if (blamesToken(error)) throw error
      throw new UnavailableError('unavailable', `the keys of customers: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }
}

async function secretKey(secret: string): Promise<JWTVerifyGetKey> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', Buffer.from(secret), algorithm, false, ['verify'])
  return async () => key
}

/**
 * Reads the tokens that the configuration names (RFC 7519): their signature, `exp`, `nbf` and `sub`. Undefined where none are
 * configured. A reader rejects with UnavailableError when the keys can not be fetched: that says nothing of the token.
 */
export async function createTokenReader(config: Config): Promise<ReadCustomer | undefined> {
  const { CUSTOMER_JWT_SECRET: secret, CUSTOMER_JWKS_URL: url } = config
  if (secret === undefined && url === undefined) return undefined
  const getKey = secret === undefined ? remoteKeys(url as string) : await secretKey(secret)
  const algorithms = secret === undefined ? ASYMMETRIC : ['HS256']
  return async (token) => {
    try {
      const { payload } = await jwtVerify(token, getKey, { algorithms })
      return typeof payload.sub === 'string' && isId(payload.sub) ? payload.sub : undefined
    } catch (error) {
      if (error instanceof UnavailableError) throw error
      return undefined
    }
  }
}
