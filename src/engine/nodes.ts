import { Cluster, type Redis, type RedisOptions } from 'ioredis'
import { UnavailableError } from '../errors.ts'
import { backoffMs, connectRedis, strictOptions } from './redis.ts'
import { slotOfShard, tagOf } from './slots.ts'

/** A command whose slot is being moved is refused and may be sent again, for this long. */
const MAX_REDIRECTIONS = 4
const ASK_AGAIN_MS = 50
const SLOTS_TIMEOUT_MS = 900
const CLUSTER = 'cluster:'

/** The servers behind the shards: one Redis for all of them, or the masters of a cluster. */
export type Nodes = {
  /** Whether shards may live on different servers. */
  is_cluster: boolean
  /** The server on which a shard was located last. Throws UnavailableError where it never was. */
  of(shard: number): Redis
  /** Finds the server that has a shard now, and connects to it. Rejects where none is known or it can not be reached. */
  locate(shard: number): Promise<Redis>
  /** For keys that belong to no shard. */
  loose: Redis | Cluster
  /** Calls when the connection to a server breaks, with the shards that were located there. Returns what ends that. */
  onLost(hear: (isLost: (shard: number) => boolean) => void): () => void
  /** Waits for the first connection. Rejects where no server answers. */
  connect(): Promise<void>
  disconnect(): void
}

/** How the nodes of a cluster are written where else the URL of a Redis stands. */
export const clusterAddress = (nodes: string): string => `${CLUSTER}${nodes}`

/** Opens the Redis of this URL, or the cluster of this address. Nothing is connected yet. */
export function openNodes(address: string, patience_ms?: number): Nodes {
  return address.startsWith(CLUSTER)
    ? openCluster(address.slice(CLUSTER.length), patience_ms)
    : oneNode(connectRedis(address, patience_ms))
}

/** One Redis that has all shards. */
export function oneNode(redis: Redis): Nodes {
  return {
    is_cluster: false,
    of: () => redis,
    locate: async () => redis,
    loose: redis,
    onLost(hear) {
      const lost = () => hear(() => true)
      redis.on('close', lost)
      return () => redis.off('close', lost)
    },
    connect: () => redis.connect(),
    disconnect: () => redis.disconnect(),
  }
}

type Startup = { host: string; port: number }

/** `host:port,host:port`; the first may be a URL, whose user, password and TLS count for all. Throws TypeError. */
export function parseClusterNodes(text: string): { startup: Startup[]; options: RedisOptions } {
  const urls = text.split(',').map((node) => new URL(node.includes('://') ? node : `redis://${node}`))
  const [first] = urls
  const startup = urls.map(({ hostname, port, pathname }) => {
    if (hostname === '' || port === '' || pathname.length > 1) throw new TypeError('not host:port')
    return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port) }
  })
  const { username = '', password = '', protocol } = first ?? {}
  return {
    startup,
    options: {
      ...(username && { username: decodeURIComponent(username) }),
      ...(password && { password: decodeURIComponent(password) }),
      ...(protocol === 'rediss:' && { tls: {} }),
    },
  }
}

/**
 * A Redis Cluster. What belongs to a shard is sent straight to the master that had it when it was located, and to no other:
 * a client that follows redirections would be led to a promoted replica, which may lack what it was never told, and use it
 * like the old master. So a redirection is an error, the fence closes, and the shard is located and looked at again.
 */
function openCluster(nodes: string, patience_ms?: number): Nodes {
  const { startup, options } = parseClusterNodes(nodes)
  const strict = { ...strictOptions(patience_ms), ...options }
  const { retryStrategy: _retry, enableOfflineQueue: _queue, lazyConnect: _lazy, ...of_node } = strict
  const loose = new Cluster(startup, {
    lazyConnect: true,
    // Nothing is sent again after it may have been run, and nothing waits for a cluster that is not there.
    enableOfflineQueue: false,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: ASK_AGAIN_MS,
    maxRedirections: MAX_REDIRECTIONS,
    slotsRefreshTimeout: SLOTS_TIMEOUT_MS,
    // Each shard is looked at by itself; one master that is away must not keep the others from being used.
    enableReadyCheck: false,
    clusterRetryStrategy: backoffMs,
    redisOptions: of_node,
  })
  loose.on('error', () => {})
  type Link = { redis: Redis; connected: Promise<unknown> }
  const links = new Map<string, Link>()
  const places = new Map<number, Redis>()
  const hearers = new Set<(isLost: (shard: number) => boolean) => void>()

  function linkTo(at: string): Link {
    const known = links.get(at)
    if (known) return known
    const colon = at.lastIndexOf(':')
    const place = { host: at.slice(0, colon), port: Number(at.slice(colon + 1)) }
    const redis = connectRedis({ ...options, ...place }, patience_ms)
    redis.on('close', () => {
      for (const hear of hearers) hear((shard) => places.get(shard) === redis)
    })
    const link = { redis, connected: redis.connect().catch(() => {}) }
    links.set(at, link)
    return link
  }

  /** Nodes that serve no shard any more need no connection. */
  function dropUnused(): void {
    const used = new Set(places.values())
    for (const [at, { redis }] of links) {
      if (used.has(redis)) continue
      links.delete(at)
      redis.disconnect()
    }
  }

  return {
    is_cluster: true,
    of(shard) {
      const redis = places.get(shard)
      if (!redis) throw new UnavailableError('unavailable', `shard ${shard} was not found in the cluster yet`)
      return redis
    },
    async locate(shard) {
      // The cluster follows redirections, and remembers who had the slot in the end.
      await loose.exists(`{${tagOf(shard)}}`)
      const at = loose.slots[slotOfShard(shard)]?.[0]
      if (at === undefined) throw new UnavailableError('unavailable', `nobody has the slot of shard ${shard}`)
      const { redis, connected } = linkTo(at)
      places.set(shard, redis)
      dropUnused()
      await connected
      if (redis.status !== 'ready') throw new UnavailableError('unavailable', `${at} does not answer`)
      return redis
    },
    loose,
    onLost(hear) {
      hearers.add(hear)
      return () => hearers.delete(hear)
    },
    connect: () => loose.connect(),
    disconnect() {
      loose.disconnect()
      for (const { redis } of links.values()) redis.disconnect()
    },
  }
}
