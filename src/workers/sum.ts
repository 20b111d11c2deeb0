import type { Worker } from 'node:cluster'
import { isDeepStrictEqual } from 'node:util'
import { AggregatorRegistry, type Registry } from 'prom-client'
import type { Metric, ToWorker } from './messages.ts'

/** A worker that is stuck for longer counts with what it said last. */
const ANSWER_WAIT_MS = 1_000

type Tell = (worker: Worker, message: ToWorker) => void

/**
 * The metrics of all workers as one. Counters and histograms are added up and never fall, which Prometheus would take for a
 * restart: those of a worker that has ended, or that does not answer, stand as they were when it was asked last. Gauges
 * are put together as each of them says, from the workers that answer.
 */
export function createSum(tell: Tell) {
  const last = new Map<Worker, Metric[]>()
  const waiting = new Map<number, { worker: Worker; answer: (metrics: Metric[] | undefined) => void }>()
  let ended: Metric[] = []
  let last_id = 0

  /** Whether the worker answered. */
  async function ask(worker: Worker): Promise<boolean> {
    last_id += 1
    const id = last_id
    let timer: NodeJS.Timeout | undefined
    const metrics = await new Promise<Metric[] | undefined>((resolve) => {
      waiting.set(id, { worker, answer: resolve })
      timer = setTimeout(() => resolve(undefined), ANSWER_WAIT_MS)
      tell(worker, { kind: 'metrics_wanted', id })
    })
    clearTimeout(timer)
    waiting.delete(id)
    return metrics !== undefined
  }

  return {
    /** Takes what a worker answers. */
    answered(id: number, metrics: Metric[]): void {
      const asked = waiting.get(id)
      if (!asked) return
      last.set(asked.worker, metrics)
      asked.answer(metrics)
    },

    /** Keeps what a worker that has ended had counted. */
    hasEnded(worker: Worker): void {
      ended = addUp([ended, countersOf(last.get(worker) ?? [])])
      last.delete(worker)
      for (const asked of waiting.values()) if (asked.worker === worker) asked.answer(undefined)
    },

    /** The metrics of these workers and `own`, those of this process. */
    async read(workers: Worker[], own: Metric[]): Promise<Registry> {
      const answered = await Promise.all(workers.map(ask))
      const fresh = new Set(workers.filter((_, at) => answered[at]))
      const living = [...last].map(([worker, metrics]) => (fresh.has(worker) ? metrics : countersOf(metrics)))
      return AggregatorRegistry.aggregate([...living, ended, own])
    },
  }
}

const countersOf = (metrics: Metric[]) =>
  metrics.filter(({ type }) => type === 'counter' || type === 'histogram')

/** One metric for each name, with the sums of the values that have the same labels. */
function addUp(parts: Metric[][]): Metric[] {
  const sums = new Map<string, Metric>()
  for (const metric of parts.flat()) {
    const sum = sums.get(metric.name)
    if (!sum) {
      sums.set(metric.name, structuredClone(metric))
      continue
    }
    for (const one of metric.values) {
      const same = sum.values.find(
        ({ metricName, labels }) => metricName === one.metricName && isDeepStrictEqual(labels, one.labels),
      )
      if (same) same.value += one.value
      else sum.values.push({ ...one })
    }
  }
  return [...sums.values()]
}
