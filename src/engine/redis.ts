import { Redis } from 'ioredis'
import { StartError, UnavailableError } from '../errors.ts'

/** A caller waits no longer for Redis; a step takes a few milliseconds, so this is a server that is away or stuck. */
const PATIENCE_MS = 900
/** A connection that carries nothing for so long leads to a machine that is gone; TCP itself would take a quarter of an hour. */
const SILENCE_MS = 2_500
const DISCONNECT_TIMEOUT_MS = 50
const RECONNECT_MIN_MS = 50
const RECONNECT_MAX_MS = 1000

/**
 * Connects to Redis so that no script ever runs twice and none hangs: a command whose connection breaks or whose reply does
 * not come in time is rejected, never sent again, and while there is no connection commands are rejected at once.
 */
export function connectRedis(url: string, patience_ms = PATIENCE_MS): Redis {
  const redis = new Redis(url, {
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    commandTimeout: patience_ms,
    connectTimeout: patience_ms,
    socketTimeout: SILENCE_MS,
    // After a refused connection ioredis leaves a timer of this length behind, which would hold up the end of the process.
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    retryStrategy: (times) =>
      Math.min(RECONNECT_MAX_MS, RECONNECT_MIN_MS * 2 ** Math.min(times, 5)) * (0.5 + Math.random() / 2),
  })
  // Without a listener ioredis prints every failed attempt. Callers learn of it by their rejected commands.
  redis.on('error', () => {})
  return redis
}

/** Waits for the first connection and refuses a Redis that would throw away keys when it is full. Throws StartError. */
export async function checkRedis(redis: Redis): Promise<void> {
  try {
    await redis.connect()
    const policy = field(await redis.info('memory'), 'maxmemory_policy')
    if (policy !== 'noeviction') {
      throw new StartError(
        `Redis has maxmemory-policy ${policy} and would drop holds when it is full: set it to noeviction`,
      )
    }
  } catch (error) {
    redis.disconnect()
    if (error instanceof StartError) throw error
    throw new StartError(`Redis does not answer (${(error as Error).message}): start it or correct REDIS_URL`)
  }
}

const field = (info: string, name: string) => info.match(new RegExp(`^${name}:(.*?)\\r?$`, 'm'))?.[1] ?? ''

/** The form of what the scripts keep in Redis. A Redis with another one is rebuilt: raise it with every change of that form. */
const FORM = 3

/**
 * Which Redis answers, and the form of what this program keeps there. A new run id means that it was started again and may lack
 * its last writes; a new replication id that a replica was promoted.
 */
export async function readIdentity(redis: Redis): Promise<string> {
  const [server, replication] = await Promise.all([redis.info('server'), redis.info('replication')])
  return `${FORM}/${field(server, 'run_id')}/${field(replication, 'master_replid')}`
}

/** The reply to a plain command. Rejects with UnavailableError where Redis does not give one. */
export async function ask<Reply>(what: string, reply: Promise<Reply>): Promise<Reply> {
  try {
    return await reply
  } catch (error) {
    throw new UnavailableError('unavailable', `${what}: ${(error as Error).message}`, { cause: error })
  }
}
