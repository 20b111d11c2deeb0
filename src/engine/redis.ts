import { Redis, type RedisOptions } from 'ioredis'
import { UnavailableError } from '../errors.ts'

/** A caller waits no longer for Redis; a step takes a few milliseconds, so this is a server that is away or stuck. */
const PATIENCE_MS = 900
/** A connection that carries nothing for so long leads to a machine that is gone; TCP itself would take a quarter of an hour. */
const SILENCE_MS = 2_500
const DISCONNECT_TIMEOUT_MS = 50
const RECONNECT_MIN_MS = 50
const RECONNECT_MAX_MS = 1000

/** What makes a connection one on which no command runs twice and none hangs. */
export function strictOptions(patience_ms = PATIENCE_MS): RedisOptions {
  return {
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    commandTimeout: patience_ms,
    connectTimeout: patience_ms,
    socketTimeout: SILENCE_MS,
    // After a refused connection ioredis leaves a timer of this length behind, which would hold up the end of the process.
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    retryStrategy: backoffMs,
    // A master that became a replica; behind the same name there may be a new master by now.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
  }
}

/** How long to wait before the next try to connect: longer each time, and never the same for all processes. */
export const backoffMs = (times: number): number =>
  Math.min(RECONNECT_MAX_MS, RECONNECT_MIN_MS * 2 ** Math.min(times, 5)) * (0.5 + Math.random() / 2)

/**
 * Connects to Redis so that no script ever runs twice and none hangs: a command whose connection breaks or whose reply does
 * not come in time is rejected, never sent again, and while there is no connection commands are rejected at once.
 */
export function connectRedis(at: string | RedisOptions, patience_ms = PATIENCE_MS): Redis {
  const options = strictOptions(patience_ms)
  const redis = typeof at === 'string' ? new Redis(at, options) : new Redis({ ...options, ...at })
  // Without a listener ioredis prints every failed attempt. Callers learn of it by their rejected commands.
  redis.on('error', () => {})
  return redis
}

export const field = (info: string, name: string) =>
  info.match(new RegExp(`^${name}:(.*?)\\r?$`, 'm'))?.[1] ?? ''

/**
 * The form of what the scripts keep in Redis. A Redis with an earlier one is rebuilt, and one with a later one left alone: raise
 * it with every change of that form.
 */
export const FORM = 5
/** No Redis has this identity: the shard is being rebuilt. */
export const UNFINISHED = `${FORM}/`
/** Nor this one: the shard is being rebuilt from the Redis that it had last. */
export const unfinishedOn = (identity: string): string => `${UNFINISHED}${identity}`
/** The form that an identity names. */
export const formOf = (identity: string): number => Number.parseInt(identity, 10) || 0

/**
 * Which Redis answers, and the form of what this program keeps there. A new run id means that it was started again and may lack
 * its last writes; a new replication id that a replica was promoted. Rejects with
 * UnavailableError where a replica answers.
 */
export async function readIdentity(redis: Redis): Promise<string> {
  const [server, replication] = await Promise.all([redis.info('server'), redis.info('replication')])
  if (field(replication, 'role') !== 'master') {
    throw new UnavailableError('unavailable', 'a replica answers where a master should')
  }
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
