import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import t from 'tap'
import { createRing } from '../../src/desk/ring.ts'
import { takeSample } from '../../src/desk/sample.ts'
import { quantileMs, seriesOf } from '../../src/desk/series.ts'
import { asMetrics } from '../../src/workers/messages.ts'
import { until } from '../fixtures/until.ts'

/** The metrics that the desk knows, in a registry of their own. */
function openMetrics() {
  const registry = new Registry()
  const registers = [registry]
  const help = 'x'
  const holds = new Counter({ name: 'holdfast_holds_total', help, registers, labelNames: ['outcome'] })
  const orders = new Counter({ name: 'holdfast_orders_total', help, registers, labelNames: ['outcome'] })
  const expired = new Counter({ name: 'holdfast_expired_total', help, registers, labelNames: ['kind'] })
  const age = new Gauge({ name: 'holdfast_journal_age_seconds', help, registers, labelNames: ['shard'] })
  const fence = new Gauge({ name: 'holdfast_fence_open', help, registers, labelNames: ['shard'] })
  const name = 'holdfast_http_request_duration_seconds'
  const labelNames = ['method', 'route', 'status']
  const buckets = [0.01, 0.1, 1]
  const took = new Histogram({ name, help, registers, labelNames, buckets })
  const sample = async (at_ms: number) => takeSample(asMetrics(await registry.getMetricsAsJSON()), at_ms)
  return { registry, holds, orders, expired, age, fence, took, sample }
}

t.test('rates are differences a second, of grants, refusals, orders and expiries', async (t) => {
  const m = openMetrics()
  m.holds.inc({ outcome: 'granted' }, 100)
  const first = await m.sample(1_000)
  m.holds.inc({ outcome: 'granted' }, 20)
  m.holds.inc({ outcome: 'insufficient_stock' }, 7)
  m.holds.inc({ outcome: 'sale_paused' }, 3)
  m.holds.inc({ outcome: 'replayed' }, 50)
  m.orders.inc({ outcome: 'created' }, 5)
  m.orders.inc({ outcome: 'replayed' }, 9)
  m.expired.inc({ kind: 'hold' }, 4)
  m.expired.inc({ kind: 'order' }, 1)
  const series = seriesOf([first, await m.sample(6_000), await m.sample(11_000)])
  t.match(series, {
    at_ms: [6_000, 11_000],
    holds_granted: [4, 0],
    holds_refused: [2, 0],
    orders_created: [1, 0],
    expired: [1, 0],
  })
})

t.test('what is not measured is null, not nought', async (t) => {
  const nothing = takeSample([], 0)
  t.match(nothing, {
    holds_granted: null,
    expired: null,
    hold_buckets: null,
    refunds_open: null,
    journal_entries: null,
    journal_age_seconds: null,
    shards: [],
  })
  const series = seriesOf([nothing, { ...nothing, at_ms: 5_000 }])
  t.match(series, { holds_granted: [null], p50_ms: [null] })
})

t.test('a counter that began anew does not count below nought', async (t) => {
  const m = openMetrics()
  m.holds.inc({ outcome: 'granted' }, 100)
  const before = await m.sample(0)
  m.holds.reset()
  m.holds.inc({ outcome: 'granted' }, 10)
  t.same(seriesOf([before, await m.sample(5_000)]).holds_granted, [2])
})

t.test('quantiles are those of the requests for holds between two samples', async (t) => {
  const m = openMetrics()
  const labels = { method: 'POST', route: '/api/holds', status: '201' }
  for (let count = 0; count < 100; count += 1) m.took.observe(labels, 0.5)
  const before = await m.sample(0)
  for (let count = 0; count < 90; count += 1) m.took.observe(labels, 0.005)
  for (let count = 0; count < 10; count += 1) m.took.observe({ ...labels, status: '409' }, 0.05)
  for (let count = 0; count < 900; count += 1) m.took.observe({ ...labels, route: '/api/orders' }, 0.9)
  const after = await m.sample(5_000)
  const series = seriesOf([before, after, await m.sample(10_000)])
  t.equal(Math.round((series.p50_ms[0] ?? 0) * 10) / 10, 5.6, 'in the first bucket, 50 of 90 on its way')
  t.equal(Math.round(series.p99_ms[0] ?? 0), 91, 'in the second')
  t.same([series.p50_ms[1], series.p99_ms[1]], [null, null], 'where nobody asked there is none')
  m.took.observe(labels, 30)
  t.equal(quantileMs(after.hold_buckets, (await m.sample(15_000)).hold_buckets, 0.5), 1_000, 'at least')
})

t.test('the fence is that of each shard, the age that of the oldest', async (t) => {
  const m = openMetrics()
  m.fence.set({ shard: 1 }, 0)
  m.fence.set({ shard: 0 }, 1)
  m.age.set({ shard: 0 }, 0.5)
  m.age.set({ shard: 1 }, 7)
  const { shards, journal_age_seconds } = await m.sample(0)
  t.same(shards, [
    { shard: 0, is_open: true },
    { shard: 1, is_open: false },
  ])
  t.equal(journal_age_seconds, 7)
})

t.test('a ring keeps ten minutes of samples, and one that can not be taken leaves a gap', async (t) => {
  let readings = 0
  const ring = createRing(async () => {
    readings += 1
    if (readings === 3) throw new Error('away')
    return []
  }, 1)
  ring.start()
  await until('more samples than it keeps', () => readings > 140)
  const { samples, now } = await ring.read()
  await ring.stop()
  t.equal(samples.length, 121)
  t.ok(now)
  t.ok((samples.at(-1)?.at_ms ?? 0) >= (samples[0]?.at_ms ?? 0), 'the oldest first')
  const stopped = readings
  await new Promise((resolve) => setTimeout(resolve, 30))
  t.equal(readings, stopped, 'after its stop it takes none')
})
