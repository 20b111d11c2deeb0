/** Chance that a seed decides: the same seed, the same draws. */
export type Chance = ReturnType<typeof createChance>

/** Mulberry32: 32 bits of state are plenty for a few thousand draws. */
export function createChance(seed: number) {
  let state = seed >>> 0
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    next,
    below: (count: number) => Math.floor(next() * count),
    pick: <Thing>(things: readonly Thing[]): Thing => things[Math.floor(next() * things.length)] as Thing,
    bytes: (count: number) => Buffer.from(Array.from({ length: count }, () => Math.floor(next() * 256))),
  }
}
