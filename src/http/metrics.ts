import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { countRefundsOpen } from '../db/payments.ts'
import type { Deps } from './deps.ts'

/** The numbers of this process and of the service, for Prometheus. A server that is away leaves its numbers out. */
export function createMetrics({ engine, db }: Pick<Deps, 'engine' | 'db'>): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const shards = Array.from({ length: engine.shards }, (_, shard) => shard)

  new Gauge({
    name: 'holdfast_refunds_open',
    help: 'Payments that are due for refund and not yet paid back',
    registers,
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
    collect() {
      for (const shard of shards) this.set({ shard }, engine.fence.isOpen(shard) ? 1 : 0)
    },
  })
  return registry
}
