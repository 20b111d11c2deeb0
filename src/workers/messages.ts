import type { DeskSamples } from '../desk/ring.ts'

/* What the primary and its workers say to each other. */

/** A metric as prom-client's `getMetricsAsJSON` gives it; its own types have a number for the word that `type` is. */
export type Metric = {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram' | 'summary'
  aggregator: string
  values: Array<{ value: number; labels: Record<string, string | number>; metricName?: string }>
}

/** What prom-client's `getMetricsAsJSON` answers, under the types that it has in truth. */
export const asMetrics = (metrics: unknown) => metrics as Metric[]

/** What a worker needs to know that its environment does not say. */
export type Orders = {
  redis_url: string
  database_url: string
  /** Where to listen; 0 stands for the one port that all workers get. */
  port: number
  sweeps: boolean
  max_connections: number
}

export type ToWorker =
  | ({ kind: 'orders' } & Orders)
  | { kind: 'metrics_wanted'; id: number }
  | { kind: 'metrics_of_all'; id: number; answer: string }
  | { kind: 'samples'; id: number; answer: DeskSamples }

export type ToPrimary =
  | { kind: 'orders_wanted' }
  | { kind: 'listening'; port: number }
  | { kind: 'complaint'; line: string }
  | { kind: 'metrics'; id: number; metrics: Metric[] }
  | { kind: 'metrics_of_all_wanted'; id: number }
  | { kind: 'samples_wanted'; id: number }
