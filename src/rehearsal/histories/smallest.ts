import { linearize, type Model } from './linearize.ts'
import { type Act, until } from './operations.ts'

/** For each try: a smaller part is often harder to decide, and a part that is not decided stays as it was. */
const MAX_CONFIGURATIONS = 10_000
/** For all of them: some seconds. */
const MAX_ALL = 30_000

/** A part of a history that no order explains. */
export type Part = {
  acts: Act[]
  /** The state to which the order came that goes furthest, and the acts that it leaves out. */
  reached: unknown
  left_out: Act[]
}

/** The acts of which this one says nothing any more: it may have had any answer, or no effect. */
function silenced(acts: Act[], silent: Set<Act>): Act[] {
  return acts.flatMap((act) => {
    if (!silent.has(act)) return [act]
    return act.is_quiet ? [] : [{ ...act, is_optional: true, says: undefined, moment_ms: undefined }]
  })
}

/**
 * The smallest part of an unexplained history that is found by cutting: first its end, as early as it can be; then every answer whose
 * call may have had any other one, or never been, and still nothing explains the rest.
 */
export function smallestPart<State>(history: Act[], model: Model<State, Act>): Part {
  let left = MAX_ALL
  function isUnexplained(acts: Act[]): boolean {
    const { verdict, configurations } = linearize(acts, model, Math.min(left, MAX_CONFIGURATIONS))
    left -= configurations
    return verdict === 'unexplained'
  }

  const ends_ms = history.flatMap(({ is_optional, ended_ms }) => (is_optional ? [] : ended_ms))
  ends_ms.sort((one, other) => one - other)
  let [low, high] = [0, ends_ms.length - 1]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (isUnexplained(until(history, ends_ms[middle] as number))) high = middle
    else low = middle + 1
  }
  const shortest = until(history, ends_ms[low] ?? 0)
  let acts = isUnexplained(shortest) ? shortest : history

  /** Silences as many of these as nothing depends on, in halves, then in ever smaller groups. */
  function silence(calls: Act[]): void {
    for (let size = Math.ceil(calls.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = 0; at < calls.length && left > 0; at += size) {
        const silent = new Set(calls.slice(at, at + size).filter((act) => acts.includes(act)))
        const smaller = silenced(acts, silent)
        if (silent.size > 0 && isUnexplained(smaller)) acts = smaller
      }
    }
  }

  // What a clock does is no answer. Looks go first: without them the search has less to do.
  const calls = acts.filter(({ call, is_optional }) => call && !is_optional)
  silence(calls.filter(({ life, is_quiet }) => is_quiet && life !== undefined))
  silence(calls.filter(({ life, is_quiet }) => is_quiet && life === undefined))
  silence(calls.filter(({ is_quiet }) => !is_quiet))
  const { order } = linearize(acts, model, MAX_CONFIGURATIONS)
  const taken = new Set(order.map(({ op }) => op))
  const left_out = acts.filter((act) => !taken.has(act) && !act.is_optional)
  return { acts, reached: order.at(-1)?.state ?? model.initial, left_out }
}
