import type { Metric } from '../workers/messages.ts'

/** Cumulative counts of requests by the time they took at most, in rising order; null, the last, stands for any time. */
export type Buckets = Array<{ le_seconds: number | null; count: number }>

/** What the metrics of the whole service said at one moment; null stands for what they do not say. */
export type Sample = {
  at_ms: number
  holds_granted: number | null
  holds_refused: number | null
  orders_created: number | null
  expired: number | null
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
  const find = (name: string) => metrics.find((metric) => metric.name === name)?.values
  const sum = (values: Value[]) => values.reduce((total, { value }) => total + value, 0)
  /** A counter that is there and has not counted yet stands at nought. */
  const counted = (name: string, counts: (value: Value) => boolean = () => true): number | null => {
    const values = find(name)
    return values ? sum(values.filter(counts)) : null
  }
  /** A gauge without values can not be told at this moment. */
  const gauged = (name: string, of: (values: Value[]) => number): number | null => {
    const values = find(name) ?? []
    return values.length === 0 ? null : of(values)
  }
  const max = (values: Value[]) => Math.max(...values.map(({ value }) => value))
  const isRefusal = ({ labels }: Value) => labels.outcome !== GRANTED && labels.outcome !== REPLAYED
  return {
    at_ms,
    holds_granted: counted('holdfast_holds_total', ({ labels }) => labels.outcome === GRANTED),
    holds_refused: counted('holdfast_holds_total', isRefusal),
    orders_created: counted('holdfast_orders_total', ({ labels }) => labels.outcome === 'created'),
    expired: counted('holdfast_expired_total'),
    hold_buckets: readBuckets(find('holdfast_http_request_duration_seconds')),
    refunds_open: gauged('holdfast_refunds_open', max),
    journal_entries: gauged('holdfast_journal_entries', sum),
    journal_age_seconds: gauged('holdfast_journal_age_seconds', max),
    shards: (find('holdfast_fence_open') ?? [])
      .map(({ labels, value }) => ({ shard: Number(labels.shard), is_open: value === 1 }))
      .toSorted((one, other) => one.shard - other.shard),
    workers: gauged('holdfast_workers', max),
  }
}

/** The buckets of requests for holds, whatever they were answered. */
function readBuckets(values: Value[] | undefined): Buckets | null {
  if (!values) return null
  const counts = new Map<string, number>()
  for (const { labels, value, metricName } of values) {
    if (!metricName?.endsWith('_bucket') || labels.method !== 'POST' || labels.route !== '/api/holds')
      continue
    const le = String(labels.le)
    counts.set(le, (counts.get(le) ?? 0) + value)
  }
  const rank = ({ le_seconds }: Buckets[number]) => le_seconds ?? Number.POSITIVE_INFINITY
  return [...counts]
    .map(([le, count]) => ({ le_seconds: le === '+Inf' ? null : Number(le), count }))
    .toSorted((one, other) => rank(one) - rank(other))
}
