/**
 * Chance that a seed decides: the same seed, the same draws. What was drawn is on a tape, and a tape instead of a seed gives the same
 * draws again; past its end each is the least there is.
 */
export type Chance = ReturnType<typeof createChance>
export type Tape = readonly number[]

/** Mulberry32: 32 bits of state are plenty for a few thousand draws. */
function createDraw(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export function createChance(from: number | Tape) {
  const tape: number[] = []
  const next = createDraw(typeof from === 'number' ? from : 0)
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
  const next = createDraw(seed)
  return {
    next,
    bytes: (count: number) => Buffer.from(Array.from({ length: count }, () => Math.floor(next() * 256))),
  }
}
