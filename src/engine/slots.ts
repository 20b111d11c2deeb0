import slotOf from 'cluster-key-slot'

/** What Redis Cluster divides all keys into. */
const SLOTS = 16_384
/** The first shards go to different thirds of the slots, the next to different halves of those, and so on. */
const BASES = [3, 2, 2, 2, 2, 2]
/** As many shards have a part of the slots for themselves. */
const PARTS = 96
/** So much of a part, at either end, belongs to the next master where the slots can not be divided evenly. */
const EDGE = 0.1
/** Shard 0 has this part, since that is where its number lies as a tag. */
const FIRST_PART = Math.floor((slotOf('0') * PARTS) / SLOTS)

const tags: string[] = []

/** The part of the slots that a shard lives in: any number of shards lies evenly over 3, 6 or 12 masters of equal size. */
function partOf(shard: number): number {
  let rest = shard
  let width = PARTS
  let part = FIRST_PART
  for (const base of BASES) {
    width /= base
    part += (rest % base) * width
    rest = Math.floor(rest / base)
  }
  return part % PARTS
}

function findTag(shard: number): string {
  const part = partOf(shard)
  for (let tries = 0; ; tries += 1) {
    const tag = tries === 0 ? `${shard}` : `${shard}-${tries}`
    const place = (slotOf(tag) * PARTS) / SLOTS - part
    if (place >= EDGE && place < 1 - EDGE) return tag
  }
}

/** The hash tag of all keys of a shard: its number and, where that does not lie in its part of the slots, a second one. */
export function tagOf(shard: number): string {
  const tag = tags[shard] ?? findTag(shard)
  tags[shard] = tag
  return tag
}

/** The slot of all keys of a shard. */
export const slotOfShard = (shard: number): number => slotOf(tagOf(shard))
