import { seeded } from '../../src/random.ts'

/**
 * Chance that a seed decides: the same seed, the same draws. What was drawn is on a tape, and a tape instead of a seed gives the same
 * draws again; past its end each is the least there is.
 */
export type Chance = ReturnType<typeof createChance>
export type Tape = readonly number[]

export function createChance(from: number | Tape) {
  const tape: number[] = []
  const next = seeded(typeof from === 'number' ? from : 0)
  function below(count: number): number {
    const drawn = typeof from === 'number' ? Math.floor(next() * count) : (from[tape.length] ?? 0) % count
    tape.push(drawn)
    return drawn
  }
  return {
    tape,
    below,
    /** Whether something that happens once in `count` times does now; never, past the end of a tape. */
    isOnceIn: (count: number) => below(count) === count - 1,
    pick: <Thing>(things: readonly Thing[]): Thing => things[below(things.length)] as Thing,
  }
}

/** Random numbers and bytes that a seed decides. */
export function createRandom(seed: number) {
  const next = seeded(seed)
  return {
    next,
    bytes: (count: number) => Buffer.from(Array.from({ length: count }, () => Math.floor(next() * 256))),
  }
}
