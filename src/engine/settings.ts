import type { Redis } from 'ioredis'
import { StartError } from '../errors.ts'
import type { Nodes } from './nodes.ts'
import { field } from './redis.ts'

/** What a managed Redis may not tell is not complained about. */
async function setting(redis: Redis, name: string): Promise<string | undefined> {
  const found = (await redis.config('GET', name).catch(() => [])) as string[]
  return found[1]
}

/** Why a Redis can not be trusted to keep what it was told; undefined where it can. */
export async function policyFault(redis: Redis): Promise<string | undefined> {
  const policy = field(await redis.info('memory'), 'maxmemory_policy')
  if (policy === '' || policy === 'noeviction') return undefined
  return `has maxmemory-policy ${policy} and would drop holds when it is full: set it to noeviction`
}

async function checkOne(redis: Redis, name: string): Promise<string[]> {
  const [fault, persistence] = await Promise.all([policyFault(redis), redis.info('persistence')])
  if (fault !== undefined) throw new StartError(`${name} ${fault}`)
  return field(persistence, 'aof_enabled') === '0'
    ? [
        `${name} has no append-only file, so its holds are gone when it is started again: set appendonly to yes`,
      ]
    : []
}

/** How a master of a cluster has to be set up so that one that is lost takes no more with it than it must. */
async function checkMaster(redis: Redis): Promise<string[]> {
  const name = `Redis at ${redis.options.host}:${redis.options.port}`
  const warnings = await checkOne(redis, name)
  const [replication, replicas_needed, needs_all] = await Promise.all([
    redis.info('replication'),
    setting(redis, 'min-replicas-to-write'),
    setting(redis, 'cluster-require-full-coverage'),
  ])
  const replicas = Number(field(replication, 'connected_slaves'))
  if (replicas === 0) warnings.push(`${name} has no replica: when it is lost, so are its holds`)
  if (replicas > 1 && replicas_needed === '0') {
    warnings.push(
      `${name} goes on alone when it is cut off from its replicas, and what it grants then is lost: set min-replicas-to-write to 1`,
    )
  }
  if (replicas === 1 && Number(replicas_needed) > 0) {
    warnings.push(
      `${name} has one replica, which will refuse to write when it has to take over: set min-replicas-to-write to 0 or add a replica`,
    )
  }
  if (needs_all === 'yes') {
    warnings.push(
      `${name} stops when any master is away: set cluster-require-full-coverage to no, so that the other shards go on`,
    )
  }
  return warnings
}

async function checkCluster(nodes: Nodes): Promise<string[]> {
  const { loose } = nodes
  if (!('nodes' in loose)) throw new Error('this is no cluster')
  const checks = await Promise.allSettled(loose.nodes('master').map(checkMaster))
  const refused = checks.find((check) => check.status === 'rejected' && check.reason instanceof StartError)
  if (refused?.status === 'rejected') throw refused.reason
  // A master that is away is none of the start's business: its shards stay closed until it is back.
  return checks.flatMap((check) => (check.status === 'fulfilled' ? check.value : []))
}

async function checkSingle(nodes: Nodes): Promise<string[]> {
  const redis = nodes.of(0)
  if (field(await redis.info('cluster'), 'cluster_enabled') === '1') {
    throw new StartError('Redis at REDIS_URL is one node of a cluster: set REDIS_CLUSTER_NODES instead')
  }
  return checkOne(redis, 'Redis')
}

/**
 * Waits for the first connection. Refuses a Redis that would throw away keys when it is full, and returns what else of its
 * settings is not as it should be, a line each. Throws StartError.
 */
export async function checkNodes(nodes: Nodes): Promise<string[]> {
  try {
    await nodes.connect()
    return await (nodes.is_cluster ? checkCluster(nodes) : checkSingle(nodes))
  } catch (error) {
    nodes.disconnect()
    if (error instanceof StartError) throw error
    throw new StartError(
      nodes.is_cluster
        ? `no node of REDIS_CLUSTER_NODES answers (${(error as Error).message}): start the cluster or correct the list`
        : `Redis does not answer (${(error as Error).message}): start it or correct REDIS_URL`,
    )
  }
}
