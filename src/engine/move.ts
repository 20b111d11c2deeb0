import type { Redis } from 'ioredis'
import { StartError } from '../errors.ts'
import type { Nodes } from './nodes.ts'
import { slotOfShard } from './slots.ts'

/** Redis does nothing else while these go to another server. */
const KEYS_AT_ONCE = 100
const MIGRATE_TIMEOUT_MS = 5_000

const nameOf = ({ options }: Redis) => `${options.host}:${options.port}`

/** The id of the node to which a slot is being moved. Some of its keys may be there already. */
async function destinationOf(from: Redis, slot: number): Promise<string | undefined> {
  const map = (await from.call('CLUSTER', 'NODES')) as string
  return new RegExp(`\\[${slot}->-(\\w+)\\]`).exec(map)?.[1]
}

/** Moves all keys of a slot. Whatever the other server has of them already is from a move that broke off: this one counts. */
async function moveKeys(from: Redis, to: Redis, slot: number): Promise<number> {
  const { host, port, username, password } = to.options
  const auth = username ? ['AUTH2', username, password ?? ''] : password ? ['AUTH', password] : []
  for (let count = 0; ; ) {
    const keys = (await from.call('CLUSTER', 'GETKEYSINSLOT', slot, KEYS_AT_ONCE)) as string[]
    if (keys.length === 0) return count
    const place = [host ?? '', port ?? 0, '', 0, MIGRATE_TIMEOUT_MS]
    await from.call('MIGRATE', ...place, 'REPLACE', ...auth, 'KEYS', ...keys)
    count += keys.length
  }
}

/**
 * Moves a shard, with all that lives in it, to another master of its cluster. Meanwhile Redis refuses its scripts, so that its
 * fence closes and it is opened again, rebuilt, where it is then. A move that broke off is finished by the next.
 * @param to host:port of the master
 * Throws StartError where that is no master of the cluster, or this is none.
 */
export async function moveShard(
  nodes: Nodes,
  shard: number,
  to: string,
): Promise<{ from: string; keys: number }> {
  const { loose } = nodes
  if (!('nodes' in loose)) throw new StartError('there is one Redis only: set REDIS_CLUSTER_NODES')
  const from = await nodes.locate(shard)
  const masters = loose.nodes('master')
  const target = masters.find((master) => nameOf(master) === to)
  if (!target) {
    throw new StartError(`${to} is no master of the cluster: take one of ${masters.map(nameOf).join(', ')}`)
  }
  const slot = slotOfShard(shard)
  const idOf = async (node: Redis) => (await node.call('CLUSTER', 'MYID')) as string
  const to_id = await idOf(target)
  const begun = await destinationOf(from, slot)
  if (begun !== undefined && begun !== to_id) {
    throw new StartError(`a move of shard ${shard} to node ${begun} broke off: finish it first`)
  }
  if (nameOf(from) === to) return { from: to, keys: 0 }
  await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', await idOf(from))
  await from.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to_id)
  const keys = await moveKeys(from, target, slot)
  // The new owner first: were the old one to give the slot up before, nobody would have it.
  await target.call('CLUSTER', 'SETSLOT', slot, 'NODE', to_id)
  await from.call('CLUSTER', 'SETSLOT', slot, 'NODE', to_id)
  return { from: nameOf(from), keys }
}
