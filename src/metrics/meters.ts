import { Counter, Registry } from 'prom-client'
import type { Observer } from './observer.ts'
import { byLabel, createTally } from './tally.ts'

/** From a reply of a Redis that idles to what a caller gives up on. */
const CALL_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1] as const
const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256] as const
/** The promise is 1.5 s. */
const LATE_SECONDS = [0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 15, 60, 300] as const

export type Meters = Observer & {
  /** What was counted so far in this process. */
  registry: Registry
}

/** Counts what the parts of one process tell of their work, for Prometheus. Counters and histograms only: they add up. */
export function createMeters(): Meters {
  const registry = new Registry()
  const registers = [registry]
  const tally = (name: string, help: string, buckets: readonly number[]) =>
    createTally({ name, help, buckets, registry })
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name, help, labelNames, registers })

  const cancelled = counter('holdfast_orders_cancelled_total', 'Orders that were cancelled, by the reason', [
    'reason',
  ])
  const expired = counter('holdfast_expired_total', 'Holds and orders that a sweep has ended', ['kind'])
  const refunds = counter('holdfast_refunds_due_total', 'Payments that have become due for refund')
  const rebuilds = counter('holdfast_rebuilds_total', 'Rebuilds of a shard')
  const broken = counter('holdfast_invariants_broken_total', 'Steps refused for counters that can not be')
  for (const reason of ['payment_failed', 'payment_timeout', 'requested']) cancelled.inc({ reason }, 0)
  for (const kind of ['hold', 'order']) expired.inc({ kind }, 0)

  const batches = byLabel(
    tally('holdfast_gather_batch_requests', 'Requests that went out together', BATCH_SIZES),
    'what',
  )
  const scripts = byLabel(
    tally('holdfast_redis_seconds', 'Time to the reply of a script, one for a whole batch', CALL_SECONDS),
    'script',
  )
  const sql = byLabel(
    tally(
      'holdfast_postgres_seconds',
      'Time of a query or transaction, with the wait for a connection',
      CALL_SECONDS,
    ),
    'what',
  )
  const lateness = byLabel(
    tally('holdfast_expiry_lateness_seconds', 'How late the latest of each sweep was ended', LATE_SECONDS),
    'kind',
  )
  const commits = tally(
    'holdfast_commit_batch_entries',
    'Journal entries written by one transaction',
    BATCH_SIZES,
  ).of({})
  for (const kind of ['hold', 'order']) lateness(kind)

  return {
    registry,
    gathered: (what, requests) => batches(what)(requests),
    ranScript: (name, seconds) => scripts(name)(seconds),
    ranSql: (what, seconds) => sql(what)(seconds),
    committed(entries) {
      commits(entries.length)
      for (const { order, payments } of entries) {
        // An order that is cancelled is written once for it: whatever comes later leaves it alone, or makes it paid.
        if (order?.cancel_reason) cancelled.inc({ reason: order.cancel_reason })
        for (const { outcome } of payments) if (outcome === 'refund_due') refunds.inc()
      }
    },
    expired(kind, count, late_ms) {
      if (count === 0) return
      expired.inc({ kind }, count)
      lateness(kind)(late_ms / 1000)
    },
    rebuilt: () => rebuilds.inc(),
    foundBroken: () => broken.inc(),
  }
}
