import { UnavailableError } from '../errors.ts'

/**
 * How much of a closed shard is in doubt: whether it is the same Redis still, what is in it, or nothing because it is known
 * to be wrong.
 */
export type Doubt = 'connection' | 'state' | 'wrong'
export type OnClose = (shard: number, reason: string, doubt: Doubt) => void
export type Fence = ReturnType<typeof createFence>

/** The graver ones come later. */
const DOUBTS: Doubt[] = ['connection', 'state', 'wrong']

/**
 * The epochs in which this process believes, one a shard. A shard without one is closed: its Redis cannot be trusted, and
 * every step on it is refused with `recovering` until the recovery opens it again.
 */
export function createFence(on_close: OnClose) {
  const epochs = new Map<number, number>()
  const last_epochs = new Map<number, number>()
  const doubts = new Map<number, Doubt>()
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
      last_epochs.set(shard, epoch)
      closed.delete(shard)
      doubts.delete(shard)
    },
    /** Closes a shard. One that is closed already stays so, but a graver doubt is remembered. */
    close(shard: number, reason: string, doubt: Doubt = 'state'): void {
      const known = doubts.get(shard)
      if (!known || DOUBTS.indexOf(doubt) > DOUBTS.indexOf(known)) doubts.set(shard, doubt)
      if (!epochs.delete(shard)) return
      closed.set(shard, { reason, since_ms: Date.now() })
      on_close(shard, reason, doubt)
    },
    isOpen: (shard: number) => epochs.has(shard),
    /** The epoch in which a shard was last open. */
    lastEpoch: (shard: number) => last_epochs.get(shard),
    /** The epochs in which shards were last open. */
    lastEpochs: (): ReadonlyMap<number, number> => new Map(last_epochs),
    /** The gravest doubt since the shard was last open. */
    doubt: (shard: number): Doubt => doubts.get(shard) ?? 'state',
    /** Why a shard is closed, and since when. */
    whyClosed: (shard: number) => closed.get(shard),
  }
}
