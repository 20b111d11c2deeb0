import { UnavailableError } from '../errors.ts'

/**
 * The epochs in which this process believes, one a shard. A shard without one is closed: its Redis cannot be trusted, and
 * every step on it is refused with `recovering` until the recovery opens it again.
 */
/**
 * How much of a closed shard is in doubt: whether it is the same Redis still, what is in it, or nothing because it is known
 * to be wrong.
 */
export type Doubt = 'connection' | 'state' | 'wrong'
export type OnClose = (shard: number, reason: string, doubt: Doubt) => void
export type Fence = ReturnType<typeof createFence>

export function createFence(on_close: OnClose) {
  const epochs = new Map<number, number>()
  const closed = new Map<number, { reason: string; since_ms: number }>()
  return {
    /** The epoch of an open shard. Throws UnavailableError. */
    epoch(shard: number): number {
      const epoch = epochs.get(shard)
      if (epoch === undefined) {
        throw new UnavailableError(
          'recovering',
          `shard ${shard} is closed: ${closed.get(shard)?.reason ?? 'not opened yet'}`,
        )
      }
      return epoch
    },
    open(shard: number, epoch: number): void {
      epochs.set(shard, epoch)
      closed.delete(shard)
    },
    close(shard: number, reason: string, doubt: Doubt = 'state'): void {
      if (!epochs.delete(shard)) return
      closed.set(shard, { reason, since_ms: Date.now() })
      on_close(shard, reason, doubt)
    },
    isOpen: (shard: number) => epochs.has(shard),
    /** Why a shard is closed, and since when. */
    whyClosed: (shard: number) => closed.get(shard),
  }
}
