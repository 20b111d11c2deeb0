import slotOf from 'cluster-key-slot'
import { UnavailableError } from '../errors.ts'
import { gather } from '../gather.ts'
import type { ClaimReply } from './commands.ts'
import type { Fence } from './fence.ts'
import { IDEM_TTL_MS, type Idem } from './holds.ts'
import { shardText } from './ids.ts'
import type { Keys } from './keys.ts'
import type { Nodes } from './nodes.ts'
import { ask } from './redis.ts'
import type { Run } from './run.ts'

/** Longer than any request takes. */
const BUSY_MS = 3_500
/** Each key costs Redis some 2 µs. */
const MAX_BATCH = 256
const MAX_IN_FLIGHT = 1
const MAX_WAITING = 2_000
const MAX_WAIT_MS = 500

type Asked = { idem: Idem; shard: number; looked_into: string }

/**
 * Claims of idempotency keys, where there are several shards. A shard knows the results of its own requests alone, so a key that
 * is used for a second one would be new there. Each key has a home, found by the key itself, which remembers for which shard
 * it was used.
 */
export function createClaims(options: { nodes: Nodes; run: Run; keys: Keys; fence: Fence; shards: number }) {
  const { nodes, run, keys, fence, shards } = options

  async function claimBatch(home: number, asked: Asked[]): Promise<ClaimReply[]> {
    const [, ...replies] = await run('claim-keys', home, {
      args: { ttl_ms: IDEM_TTL_MS, busy_ms: BUSY_MS },
      keys: asked.map(({ idem }) => keys.claim(home, idem.scope, idem.key)),
      rest: asked.map(({ shard, looked_into }) => `${shardText(shard)},${looked_into}`),
    })
    return replies
  }

  const gathers = Array.from({ length: shards }, (_, home) =>
    gather<Asked, ClaimReply>({
      run: (asked) => claimBatch(home, asked),
      max_batch: MAX_BATCH,
      max_in_flight: MAX_IN_FLIGHT,
      max_waiting: MAX_WAITING,
      max_wait_ms: MAX_WAIT_MS,
    }),
  )

  /** Whether a shard has the result of a request with this key. */
  async function hasResult(shard: number, { scope, key }: Idem): Promise<boolean> {
    fence.epoch(shard)
    return (await ask('claim', nodes.of(shard).exists(keys.idem(shard, scope, key)))) === 1
  }

  /**
   * Claims a key for a request in a shard: false where it was used for a request in another one. A key whose home is away is
   * taken for new: what is sold elsewhere does not wait for that. Rejects with UnavailableError while the other request may
   * still be under way, or its shard can not be asked.
   */
  return async (idem: Idem, shard: number): Promise<boolean> => {
    const home = slotOf(`${idem.scope}:${idem.key}`) % shards
    for (let looked_into = ''; ; ) {
      if (!fence.isOpen(home)) return true
      const [status, held] = (await gathers[home]
        ?.add({ idem, shard, looked_into })
        .catch(() => undefined)) ?? ['claimed']
      if (status === 'claimed') return true
      if (status === 'busy') throw new UnavailableError('unavailable', 'a request with this key is under way')
      const other = Number.parseInt(held as string, 16)
      if (other < shards && (await hasResult(other, idem))) return false
      looked_into = held as string
    }
  }
}
