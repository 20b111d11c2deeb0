import type { Buckets, Sample } from './sample.ts'

/** What happened between samples, one value for each moment; null where it is not known, or where there was nothing. */
export type Series = {
  at_ms: number[]
  /** A second. */
  holds_granted: Array<number | null>
  holds_refused: Array<number | null>
  orders_created: Array<number | null>
  expired: Array<number | null>
  /** Time to the answer of requests for holds. */
  p50_ms: Array<number | null>
  p99_ms: Array<number | null>
}

type Count = 'holds_granted' | 'holds_refused' | 'orders_created' | 'expired'

/** A counter that fell began anew: what it counts since then is less than what happened, and better than nothing. */
function rate(before: Sample, after: Sample, count: Count): number | null {
  const [from, to] = [before[count], after[count]]
  if (from === null || to === null) return null
  return (to < from ? to : to - from) / ((after.at_ms - before.at_ms) / 1000)
}

/** The time within which this share of the requests between two samples was answered, as Prometheus reckons it. */
export function quantileMs(before: Buckets | null, after: Buckets | null, share: number): number | null {
  if (!before || !after) return null
  const between = after.map(({ le_seconds, count }) => {
    const from = before.find((bucket) => bucket.le_seconds === le_seconds)?.count ?? 0
    return { le_seconds, count: count - from }
  })
  const total = between.at(-1)?.count ?? 0
  if (total <= 0) return null
  const rank = share * total
  const at = between.findIndex(({ count }) => count >= rank)
  const bucket = between[at]
  if (!bucket) return null
  const { le_seconds, count } = between[at - 1] ?? { le_seconds: 0, count: 0 }
  const from_ms = (le_seconds ?? 0) * 1000
  if (bucket.le_seconds === null) return from_ms
  const part = (rank - count) / (bucket.count - count || 1)
  return from_ms + part * (bucket.le_seconds * 1000 - from_ms)
}

/** The series that follow from samples in their order of time. */
export function seriesOf(samples: Sample[]): Series {
  const pairs = samples.slice(1).map((after, at) => ({ before: samples[at] as Sample, after }))
  const rates = (count: Count) => pairs.map(({ before, after }) => rate(before, after, count))
  const quantiles = (share: number) =>
    pairs.map(({ before, after }) => quantileMs(before.hold_buckets, after.hold_buckets, share))
  return {
    at_ms: pairs.map(({ after }) => after.at_ms),
    holds_granted: rates('holds_granted'),
    holds_refused: rates('holds_refused'),
    orders_created: rates('orders_created'),
    expired: rates('expired'),
    p50_ms: quantiles(0.5),
    p99_ms: quantiles(0.99),
  }
}
