import { seeded } from '../../random.ts'

/** Something that took effect at one moment between its beginning and its end, if it did. */
export type Operation = {
  began_ms: number
  /** Infinity where nobody knows. */
  ended_ms: number
  /** Whether it may have had no effect at all. */
  is_optional: boolean
  /** The moment of its effect as its answer names it, by the one clock of Redis: such moments never fall. */
  moment_ms?: number | undefined
  /** When it probably took effect: the search tries what comes first by this first. */
  guess_ms: number
  /** Whether it hardly ever changes anything, as reads. */
  is_quiet: boolean
}

/** What the operations should have done, one after the other. */
export type Model<State, Op extends Operation> = {
  initial: State
  /** All states to which an operation may lead, none where its answer does not fit; the same state where it changes nothing. */
  step(state: State, op: Op): State[]
  /** What may happen by itself in a state: an expiry, say. */
  moves(state: State): Array<{ guess_ms: number; state: State }>
  /**
   * Whether an operation that changes nothing may fit a state to which the others, and moves, lead from this one. Where it may, true; a
   * false saves the search from looking. None where that is not worth it.
   */
  mayFit?(state: State, quiet: Op, others: Op[]): boolean
  /** Two states with one fingerprint are the same. */
  fingerprint(state: State): string
}

export type Verdict<State, Op> = {
  /** `undecided`: the search gave up after so many configurations. */
  verdict: 'explained' | 'unexplained' | 'undecided'
  /** The order that goes furthest, with the state behind each operation. */
  order: Array<{ op: Op; state: State }>
  configurations: number
}

/** Some seconds of search. An honest history needs about one configuration an operation. */
export const MAX_CONFIGURATIONS = 60_000

/**
 * Looks for an order of the operations that a model explains: each takes effect once, between its beginning and its end. It is
 * the search of Wing and Gong, depth first, with the memory of Lowe: a configuration (what has taken effect, and the state) is
 * never looked at twice. Sets and states are remembered by fingerprints of 64 bits.
 *
 * An operation that changes nothing is put at the first place where its answer fits: were there an order in which it stands
 * later, there would be the same one with it there.
 */
export function linearize<State, Op extends Operation>(
  operations: Op[],
  model: Model<State, Op>,
  max_configurations = MAX_CONFIGURATIONS,
): Verdict<State, Op> {
  const open = openOperations(operations)
  const seen = new Set<string>()
  /** Where the search may go on: with an operation, whose states are looked up when its turn comes, or with what happens by itself. */
  type Way = { at: number; guess_ms: number; state?: State }
  type Frame = { taken: number; state: State; ways: Way[] }
  let furthest: Array<{ op: Op; state: State }> = []
  let furthest_ms = Number.NEGATIVE_INFINITY
  const order: Array<{ op: Op; state: State }> = []
  const opAt = (at: number) => operations[at] as Op

  /** Whether one that waits for its place fits no state to which the others may still lead before it ends. */
  function isHopeless(state: State, candidates: number[]): boolean {
    if (!model.mayFit) return false
    return candidates.some((at) => {
      const { is_quiet, is_optional, ended_ms } = opAt(at)
      if (!is_quiet || is_optional) return false
      return !model.mayFit?.(state, opAt(at), open.begunBefore(ended_ms).map(opAt))
    })
  }

  /** Where the search may go from a state, the best last. */
  function waysFrom(state: State): Way[] {
    const candidates = open.candidates()
    for (const at of candidates) {
      if (!opAt(at).is_quiet || opAt(at).is_optional) continue
      const [next, ...others] = model.step(state, opAt(at))
      if (next === state && others.length === 0) return [{ at, state, guess_ms: 0 }]
    }
    if (isHopeless(state, candidates)) return []
    const ways: Way[] = candidates.map((at) => ({ at, guess_ms: opAt(at).guess_ms }))
    for (const move of model.moves(state)) ways.push({ at: -1, ...move })
    return ways.sort((one, other) => other.guess_ms - one.guess_ms)
  }

  const frames: Frame[] = []
  function enter(taken: number, state: State): void {
    const name = `${open.fingerprint()} ${model.fingerprint(state)}`
    const is_new = !seen.has(name)
    seen.add(name)
    frames.push({ taken, state, ways: is_new ? waysFrom(state) : [] })
    const end_ms = open.firstEndMs()
    if (end_ms > furthest_ms) {
      furthest_ms = end_ms
      furthest = [...order]
    }
  }

  /** Takes a way; one whose states are not known yet becomes one way a state. */
  function follow(frame: Frame, { at, state, guess_ms }: Way): void {
    if (state === undefined) {
      for (const next of model.step(frame.state, opAt(at))) {
        // One that need not have been is not made to be for nothing.
        if (next !== frame.state || !opAt(at).is_optional) frame.ways.push({ at, state: next, guess_ms })
      }
      return
    }
    if (at >= 0) {
      open.take(at)
      order.push({ op: opAt(at), state })
    }
    enter(at, state)
  }

  enter(-1, model.initial)
  while (frames.length > 0) {
    if (open.left() === 0) return { verdict: 'explained', order, configurations: seen.size }
    if (seen.size > max_configurations) {
      return { verdict: 'undecided', order: furthest, configurations: seen.size }
    }
    const frame = frames[frames.length - 1] as Frame
    const way = frame.ways.pop()
    if (way) {
      follow(frame, way)
      continue
    }
    frames.pop()
    if (frame.taken >= 0) {
      open.putBack(frame.taken)
      order.pop()
    }
  }
  return { verdict: 'unexplained', order: furthest, configurations: seen.size }
}

/** The operations that have not taken effect yet, in a list by their beginnings from which they are taken, last out, first back. */
function openOperations(operations: Operation[]) {
  const count = operations.length
  const END = count
  const by_beginning = operations.map((_, at) => at)
  by_beginning.sort((one, other) => beganAt(one) - beganAt(other))
  const next = new Int32Array(count + 1).fill(END)
  const before = new Int32Array(count + 1).fill(END)
  for (const [place, at] of by_beginning.entries()) {
    next[at] = by_beginning[place + 1] ?? END
    before[at] = by_beginning[place - 1] ?? END
  }
  next[END] = by_beginning[0] ?? END
  before[END] = by_beginning[count - 1] ?? END

  const is_taken = new Uint8Array(count)
  const draw = seeded(count + 1)
  const bits = Array.from({ length: 2 * count }, () => Math.floor(draw() * 2 ** 32))
  let [high, low] = [0, 0]
  let left = operations.filter((op) => !op.is_optional).length
  const named = by_beginning.filter((at) => momentOf(at) !== undefined && !operations[at]?.is_optional)
  named.sort((one, other) => (momentOf(one) as number) - (momentOf(other) as number))
  const clocks_ms = [Number.NEGATIVE_INFINITY]

  function beganAt(at: number): number {
    return (operations[at] as Operation).began_ms
  }
  function momentOf(at: number): number | undefined {
    return operations[at]?.moment_ms
  }
  function mark(at: number, is_now_taken: boolean): void {
    is_taken[at] = Number(is_now_taken)
    high ^= bits[2 * at] as number
    low ^= bits[2 * at + 1] as number
    if (!operations[at]?.is_optional) left += is_now_taken ? -1 : 1
  }

  return {
    /** How many that must take effect have not. */
    left: () => left,
    fingerprint: () => `${high},${low}`,
    /** Those that may be the next to take effect: no other one had ended before they began, and no earlier moment is left over. */
    candidates(): number[] {
      const first_named = named.find((at) => !is_taken[at])
      const latest_ms = (first_named !== undefined && momentOf(first_named)) || Number.POSITIVE_INFINITY
      const clock_ms = clocks_ms[clocks_ms.length - 1] as number
      const found: number[] = []
      let first_end_ms = Number.POSITIVE_INFINITY
      for (let at = next[END] as number; at !== END && beganAt(at) <= first_end_ms; at = next[at] as number) {
        const op = operations[at] as Operation
        if (!op.is_optional) first_end_ms = Math.min(first_end_ms, op.ended_ms)
        const { moment_ms = clock_ms } = op
        if (moment_ms >= clock_ms && (op.moment_ms === undefined || moment_ms <= latest_ms)) found.push(at)
      }
      return found
    },
    /** When the first of those ends that must take effect. */
    firstEndMs(): number {
      let first_ms = Number.POSITIVE_INFINITY
      for (let at = next[END] as number; at !== END && beganAt(at) <= first_ms; at = next[at] as number) {
        const { is_optional, ended_ms } = operations[at] as Operation
        if (!is_optional) first_ms = Math.min(first_ms, ended_ms)
      }
      return first_ms
    },
    /** Those that began before a moment, and so may take effect before it. */
    begunBefore(moment_ms: number): number[] {
      const found: number[] = []
      for (let at = next[END] as number; at !== END && beganAt(at) <= moment_ms; at = next[at] as number) {
        found.push(at)
      }
      return found
    },
    take(at: number): void {
      next[before[at] as number] = next[at] as number
      before[next[at] as number] = before[at] as number
      clocks_ms.push(Math.max(clocks_ms[clocks_ms.length - 1] as number, momentOf(at) ?? 0))
      mark(at, true)
    },
    putBack(at: number): void {
      next[before[at] as number] = at
      before[next[at] as number] = at
      clocks_ms.pop()
      mark(at, false)
    },
  }
}
