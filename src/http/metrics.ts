import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { countRefundsOpen } from '../db/payments.ts'
import { productPage } from '../db/products.ts'
import type { DeskSamples } from '../desk/ring.ts'
import type { Deps } from './deps.ts'

export type Metrics = {
  /** The numbers of this process, and of the servers behind it. */
  registry: Registry
  /** What `/metrics` answers. */
  read(): Promise<string>
  /** Samples of the last ten minutes, where another process takes them. */
  readSamples?: () => Promise<DeskSamples>
}

/** Where several processes answer on one port, the latest of their event loops is the one that buyers wait for. */
const LAGS = /^nodejs_eventloop_lag_(p\d+_|mean_|stddev_)?seconds$/
/** Products whose stock is shown, those with the lowest ids: each is five lines of every scrape. */
const MAX_PRODUCTS = 100

type Sources = Pick<Deps, 'engine' | 'db' | 'meters'>

/** The gauge of one number a shard; shards that can not be asked are left out. `aggregator` says whose word counts. */
function addShardGauge(
  registry: Registry,
  { engine }: Sources,
  metric: { name: string; help: string; aggregator: 'max' | 'min' },
  read: (shard: number) => Promise<number> | number,
): void {
  new Gauge({
    ...metric,
    labelNames: ['shard'],
    registers: [registry],
    async collect() {
      const all = Array.from({ length: engine.shards }, async (_, shard) => read(shard))
      const values = await Promise.allSettled(all)
      this.reset()
      for (const [shard, result] of values.entries()) {
        if (result.status === 'fulfilled') this.set({ shard }, result.value)
      }
    },
  })
}

function addStock(registry: Registry, { engine, db }: Sources): void {
  let ids: number[] = []

  async function readIds(): Promise<number[]> {
    // Those that were known do while PostgreSQL is away.
    ids = await db.use((sql) => productPage(sql, 0, MAX_PRODUCTS)).catch(() => ids)
    return ids
  }

  new Gauge({
    name: 'holdfast_stock_units',
    help: `Units by product and part, of the first ${MAX_PRODUCTS} products`,
    labelNames: ['product', 'part'],
    registers: [registry],
    // All parts by the word of one process: those read at different moments would not add up.
    aggregator: 'first',
    async collect() {
      const reads = (await readIds()).map((id) => engine.readProduct(id))
      const products = await Promise.allSettled(reads)
      this.reset()
      for (const result of products) {
        if (result.status === 'rejected' || !result.value) continue
        const { id, stock } = result.value
        for (const part of ['available', 'held', 'pending', 'sold'] as const) {
          this.set({ product: id, part }, stock[part])
        }
      }
    },
  })
}

/**
 * The numbers of this process and of the service, for Prometheus. A server that is away leaves its numbers out. Counters of
 * several processes are added up; a gauge that tells what all of them see says by `aggregator` whose word counts.
 */
export function createMetrics(sources: Sources): Metrics {
  const { engine, db, meters } = sources
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const metric of registry.getMetricsAsArray()) {
    if (LAGS.test(metric.name)) metric.aggregator = 'max'
    if (metric.name === 'process_start_time_seconds') metric.aggregator = 'min'
  }
  for (const metric of meters?.registry.getMetricsAsArray() ?? []) {
    registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0])
  }

  new Gauge({
    name: 'holdfast_refunds_open',
    help: 'Payments that are due for refund and not yet paid back',
    registers: [registry],
    aggregator: 'max',
    async collect() {
      const count = await db.use(countRefundsOpen).catch(() => undefined)
      if (count === undefined) this.remove()
      else this.set(count)
    },
  })
  const { journal, fence } = engine
  addShardGauge(
    registry,
    sources,
    {
      name: 'holdfast_journal_entries',
      help: 'Entries that PostgreSQL may not have yet: what would be lost with Redis',
      aggregator: 'max',
    },
    journal.length,
  )
  addShardGauge(
    registry,
    sources,
    {
      name: 'holdfast_journal_age_seconds',
      help: 'How long PostgreSQL has been waited for with the oldest entry',
      aggregator: 'max',
    },
    async (shard) => (await journal.ageMs(shard)) / 1000,
  )
  addShardGauge(
    registry,
    sources,
    {
      name: 'holdfast_expiry_overdue_seconds',
      help: 'For how long a dead hold or unpaid order has been waiting for a sweep',
      aggregator: 'max',
    },
    async (shard) => (await engine.overdueMs(shard)) / 1000,
  )
  addShardGauge(
    registry,
    sources,
    {
      name: 'holdfast_dead_letters',
      help: 'Entries that were set aside, as PostgreSQL kept refusing them',
      aggregator: 'max',
    },
    journal.buriedLength,
  )
  addShardGauge(
    registry,
    sources,
    {
      name: 'holdfast_fence_open',
      help: '1 where the shard may be used, 0 while it recovers',
      aggregator: 'min',
    },
    (shard) => (fence.isOpen(shard) ? 1 : 0),
  )
  addStock(registry, sources)
  return { registry, read: () => registry.metrics() }
}
