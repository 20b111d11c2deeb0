import type { Metric } from '../workers/messages.ts'

/** Cumulative counts of requests by the time they took at most, in rising order; null, the last, stands for any time. */
export type Buckets = Array<{ le_seconds: number | null; count: number }>

/** What the metrics of the whole service said at one moment; null stands for what they do not say. */
export type Sample = {
  at_ms: number
  holds_granted: number | null
  holds_refused: number | null
  orders_created: number | null
  units_expired: number | null
  hold_buckets: Buckets | null
  refunds_open: number | null
  journal_entries: number | null
  journal_age_seconds: number | null
  shards: Array<{ shard: number; is_open: boolean }>
  workers: number | null
}

type Value = Metric['values'][number]

/** Outcomes that are no refusals. */
const GRANTED = 'granted'
const REPLAYED = 'replayed'

/** Reads a sample from the metrics of all processes together. */
export function takeSample(metrics: Metric[], at_ms: number): Sample {
  const valuesOf = (name: string) => metrics.find((metric) => metric.name === name)?.values ?? []
  const sum = (name: string, counts: (value: Value) => boolean = () => true): number | null => {
    const values = valuesOf(name)
    if (values.length === 0) return null
    return values.filter(counts).reduce((total, { value }) => total + value, 0)
  }
  const max = (name: string) => {
    const values = valuesOf(name).map(({ value }) => value)
    return values.length === 0 ? null : Math.max(...values)
  }
  const isRefusal = ({ labels }: Value) => labels.outcome !== GRANTED && labels.outcome !== REPLAYED
  return {
    at_ms,
    holds_granted: sum('holdfast_holds_total', ({ labels }) => labels.outcome === GRANTED),
    holds_refused: sum('holdfast_holds_total', isRefusal),
    orders_created: sum('holdfast_orders_total', ({ labels }) => labels.outcome === 'created'),
    units_expired: sum('holdfast_expired_total'),
    hold_buckets: readBuckets(valuesOf('holdfast_http_request_duration_seconds')),
    refunds_open: max('holdfast_refunds_open'),
    journal_entries: sum('holdfast_journal_entries'),
    journal_age_seconds: max('holdfast_journal_age_seconds'),
    shards: valuesOf('holdfast_fence_open')
      .map(({ labels, value }) => ({ shard: Number(labels.shard), is_open: value === 1 }))
      .toSorted((one, other) => one.shard - other.shard),
    workers: max('holdfast_workers'),
  }
}

/** The buckets of requests for holds, whatever they were answered. */
function readBuckets(values: Value[]): Buckets | null {
  const counts = new Map<string, number>()
  for (const { labels, value, metricName } of values) {
    if (!metricName?.endsWith('_bucket') || labels.method !== 'POST' || labels.route !== '/api/holds') continue
    const le = String(labels.le)
    counts.set(le, (counts.get(le) ?? 0) + value)
  }
  if (counts.size === 0) return null
  const rank = ({ le_seconds }: Buckets[number]) => le_seconds ?? Number.POSITIVE_INFINITY
  return [...counts]
    .map(([le, count]) => ({ le_seconds: le === '+Inf' ? null : Number(le), count }))
    .toSorted((one, other) => rank(one) - rank(other))
}
