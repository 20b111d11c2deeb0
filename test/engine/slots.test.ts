import t from 'tap'
import { createKeys } from '../../src/engine/keys.ts'
import { slotOfShard, tagOf } from '../../src/engine/slots.ts'

const SLOTS = 16_384
const MAX_SHARDS = 4_096

/** How many of so many shards each of so many masters has, which have the slots in equal parts. */
function spread(shards: number, masters: number): number[] {
  const counts = new Array<number>(masters).fill(0)
  for (let shard = 0; shard < shards; shard += 1) {
    const master = Math.floor((slotOfShard(shard) * masters) / SLOTS)
    counts[master] = (counts[master] ?? 0) + 1
  }
  return counts
}

t.test('shards lie evenly over the masters of a cluster', async (t) => {
  for (const [shards, masters] of [
    ...[3, 6, 12, 24, 48, 96].map((shards) => [shards, 3] as const),
    ...[6, 12, 24, 48, 96].map((shards) => [shards, 6] as const),
    ...[12, 24, 48, 96].flatMap((shards) => [[shards, 4] as const, [shards, 12] as const]),
  ]) {
    const counts = spread(shards, masters)
    t.same(
      new Set(counts),
      new Set([shards / masters]),
      `${shards} shards over ${masters} masters: ${counts}`,
    )
  }
  for (const masters of [3, 4, 5, 6, 8]) {
    const counts = spread(1_000, masters)
    t.ok(Math.max(...counts) < (1_000 / masters) * 1.1, `any number over ${masters} masters: ${counts}`)
  }
})

t.test('the keys of a shard have a tag that no other shard has, and shard 0 its number', async (t) => {
  const tags = Array.from({ length: MAX_SHARDS }, (_, shard) => tagOf(shard))
  t.equal(new Set(tags).size, MAX_SHARDS)
  t.equal(createKeys('hf').shard(0, 'epoch'), 'hf:{0}:epoch')
})
