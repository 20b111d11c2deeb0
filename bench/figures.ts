/** What a sample may hold. Times are those of one request; CPU is what one request costs. */
export type FigureName =
  | 'per_second'
  | 'p50_ms'
  | 'p99_ms'
  | 'server_us'
  | 'redis_us'
  | 'postgres_us'
  | 'generator_us'
  /** Replies with another status than the arm asks for, and broken connections. */
  | 'unexpected'
  | 'late_p99_ms'
  | 'offered_per_second'
  | 'refused_per_second'
  | 'given_up_per_second'
  | 'bytes'
  | 'back_ms'
  /** How late the latest of those that had to end did. */
  | 'order_late_ms'
  | 'paid_hold_late_ms'
  | 'slowest_us'
  | 'slow_calls'
  /** Of several Redis servers: the largest part that one has in their CPU time, and what a hold costs that one. */
  | 'busiest_share'
  | 'busiest_us'
  /** Time that scripts alone took Redis, without what it takes to read and answer a call, and calls of them for 1,000 holds. */
  | 'script_us'
  | 'script_calls'
  /** PostgreSQL transactions for 1,000 requests. */
  | 'transactions'

/** One arm measured once. Arms without connections have 0. */
export type Sample = {
  arm: string
  connections: number
  round: number
  figures: Partial<Record<FigureName, number | null>>
}

/** A number that several rounds gave, with its least and greatest. */
export type Spread = { median: number; min: number; max: number; rounds: number }

/** The smallest value that this share of them does not exceed; NaN where there are none. */
export function quantile(values: number[], share: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

/** The middle one, or the mean of the two in the middle; NaN where there are none. */
export function median(values: number[]): number {
  const sorted = [...values].sort((one, other) => one - other)
  const middle = sorted.length / 2
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]]
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2
}

export function spread(values: number[]): Spread | undefined {
  if (values.length === 0) return undefined
  return {
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    rounds: values.length,
  }
}

/** Which number of which arm. */
export type Pick = { arm: string; figure: FigureName; connections: number }

function byRound(samples: Sample[], { arm, figure, connections }: Pick): Map<number, number> {
  const found = new Map<number, number>()
  for (const sample of samples) {
    const value = sample.figures[figure]
    if (sample.arm !== arm || sample.connections !== connections) continue
    if (typeof value === 'number' && Number.isFinite(value)) found.set(sample.round, value)
  }
  return found
}

/** A figure over the rounds, or undefined where it was not measured. */
export function figure(samples: Sample[], pick: Pick): Spread | undefined {
  return spread([...byRound(samples, pick).values()])
}

/**
 * One figure divided by another, round by round, so that what a slow round does to both does not count. Undefined where no
 * round has both.
 */
export function ratio(samples: Sample[], over: Pick, under: Pick): Spread | undefined {
  const unders = byRound(samples, under)
  const ratios = [...byRound(samples, over)].flatMap(([round, value]) => {
    const divisor = unders.get(round)
    return divisor ? [value / divisor] : []
  })
  return spread(ratios)
}

/** More than this between two runs of one and the same arm, and differences between arms mean little. */
export const NOISE_LIMIT = 0.05

export type Control = { connections: number; difference: number; is_noisy: boolean }

/** Compares an arm with itself: by how much the medians of its two places in the rotation differ. */
export function control(
  samples: Sample[],
  arm: string,
  again: string,
  connections: number,
): Control | undefined {
  const of = (name: string) => figure(samples, { arm: name, figure: 'per_second', connections })?.median
  const [one, other] = [of(arm), of(again)]
  if (one === undefined || other === undefined) return undefined
  const difference = Math.abs(one - other) / Math.max(one, other)
  return { connections, difference, is_noisy: difference > NOISE_LIMIT }
}
