import type { Fence } from './fence.ts'
import type { Run } from './run.ts'

export type DueSet = 'prepaid' | 'deadlines' | 'parked'
export type Due = ReturnType<typeof createDue>

/** Records that could not be dealt with and are remembered, the latest of them; each makes a look at what is due longer. */
const MAX_STUCK = 256

/**
 * What is due, without what could not be dealt with: a record that is broken stands before all that come after it. It is said once, and
 * the shard is rebuilt once, since PostgreSQL knows better; what is broken still is passed over.
 */
export function createDue({ run, fence }: { run: Run; fence: Fence }) {
  /** By shard and member: the epoch in which it was found to be stuck. */
  const stuck = new Map<string, number>()
  const nameOf = (shard: number, member: string) => `${shard} ${member}`

  return {
    /** The members of a set that are due, those first that have been for longest. */
    async read(shard: number, set: DueSet, limit: number): Promise<string[]> {
      const epoch = fence.epoch(shard)
      const [, ...members] = await run('read-due', shard, { args: { set, limit: limit + stuck.size } })
      return members.filter((member) => stuck.get(nameOf(shard, member)) !== epoch).slice(0, limit)
    },

    /** Passes over what is broken from now on, and closes its shard if it is new. */
    passOver(shard: number, what: string, members: string[], epoch: number): void {
      for (const member of members) {
        const name = nameOf(shard, member)
        const is_known = stuck.has(name)
        const [oldest] = stuck.keys()
        if (oldest !== undefined && !is_known && stuck.size >= MAX_STUCK) stuck.delete(oldest)
        stuck.set(name, epoch)
        if (!is_known) fence.close(shard, `a record is broken: ${what} ${member}`, 'wrong')
      }
    },
  }
}
