import type { FastifyInstance } from 'fastify'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { countRefundsOpen } from '../db/payments.ts'
import type { DeskSamples } from '../desk/ring.ts'
import type { Deps } from './deps.ts'
import { REPLAYED_HEADER } from './idempotency.ts'

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

/**
 * The numbers of this process and of the service, for Prometheus. A server that is away leaves its numbers out. Counters of
 * several processes are added up; a gauge that tells what all of them see says by `aggregator` whose word counts.
 */
export function createMetrics({ engine, db }: Pick<Deps, 'engine' | 'db'>): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const metric of registry.getMetricsAsArray()) {
    if (LAGS.test(metric.name)) metric.aggregator = 'max'
    if (metric.name === 'process_start_time_seconds') metric.aggregator = 'min'
  }
  const registers = [registry]
  const shards = Array.from({ length: engine.shards }, (_, shard) => shard)

  new Gauge({
    name: 'holdfast_refunds_open',
    help: 'Payments that are due for refund and not yet paid back',
    registers,
    aggregator: 'max',
    async collect() {
      const count = await db.use(countRefundsOpen).catch(() => undefined)
      if (count === undefined) this.remove()
      else this.set(count)
    },
  })
  new Gauge({
    name: 'holdfast_journal_entries',
    help: 'Entries that PostgreSQL may not have yet: what would be lost with Redis',
    labelNames: ['shard'],
    registers,
    aggregator: 'max',
    async collect() {
      this.reset()
      for (const shard of shards) {
        const length = await engine.journal.length(shard).catch(() => undefined)
        if (length !== undefined) this.set({ shard }, length)
      }
    },
  })
  new Gauge({
    name: 'holdfast_fence_open',
    help: '1 where the shard may be used, 0 while it recovers',
    labelNames: ['shard'],
    registers,
    aggregator: 'min',
    collect() {
      for (const shard of shards) this.set({ shard }, engine.fence.isOpen(shard) ? 1 : 0)
    },
  })
  return { registry, read: () => registry.metrics() }
}

/** Counts the requests for holds by what became of them. To be called before the routes are added. */
export function countHolds(app: FastifyInstance, { registry }: Metrics): void {
  const holds = new Counter({
    name: 'holdfast_holds_total',
    help: 'Requests for a hold: granted, replayed, or the code of the refusal',
    labelNames: ['outcome'],
    registers: [registry],
  })
  const counters = new Map<string, Counter.Internal>()
  const counterOf = (outcome: string): Counter.Internal => {
    const counter = counters.get(outcome) ?? holds.labels({ outcome })
    counters.set(outcome, counter)
    return counter
  }
  for (const outcome of ['granted', 'replayed']) counterOf(outcome).inc(0)
  app.decorateReply('problem_code')
  app.addHook('onRoute', (route) => {
    if (route.method !== 'POST' || route.url !== '/api/holds') return
    // As the answer is made: a buyer who is gone by then has the hold all the same.
    route.onSend = (_request, reply, _payload, done) => {
      const granted = reply.hasHeader(REPLAYED_HEADER) ? 'replayed' : 'granted'
      counterOf(reply.problem_code ?? granted).inc()
      done()
    }
  })
}
