import { setTimeout as wait } from 'node:timers/promises'
import { quantile } from '../figures.ts'
import type { Answer, Job, LoadResult } from './jobs.ts'
import { type Line, openLine, requestBytes } from './line.ts'

/** Connections opened at the same time, so that the server's queue of new ones does not overflow. */
const OPEN_AT_ONCE = 128
/** Requests that have no answer this long after the last one was due count as errors. */
const PATIENCE_MS = 10_000
const POLL_MS = 5

async function openLines(count: number, port: number, host: string): Promise<Line[]> {
  const lines: Line[] = []
  while (lines.length < count) {
    const many = Math.min(OPEN_AT_ONCE, count - lines.length)
    lines.push(...(await Promise.all(Array.from({ length: many }, () => openLine(port, host)))))
  }
  return lines
}

/**
 * An open loop: request n is due at n / per_second, whether or not the earlier ones are answered, and its latency counts
 * from that moment. So a server that stalls is charged for everybody who came meanwhile.
 *
 * It is not autocannon's `overallRate`: that sends the requests of each second in one burst at its beginning, and corrects
 * latencies by an interval of a millisecond whatever the rate is.
 */
export async function openLoop(job: Extract<Job, { kind: 'open' }>): Promise<LoadResult> {
  const { connections, seconds, per_second, ignore_seconds, when_busy } = job
  const { hostname, port, host } = new URL(job.url)
  const bytes = requestBytes(job.request, host)
  const free = await openLines(connections, Number(port), hostname)
  const lines = [...free]
  const queue: number[] = []
  let queue_at = 0
  const answers: Answer[] = []
  const lates_ms: number[] = []
  let [in_flight, given_up, accepted_in_time] = [0, 0, 0]
  const started_ms = performance.now()
  const clock_ms = Date.now() - started_ms
  const counted_from_ms = started_ms + ignore_seconds * 1000
  const end_ms = started_ms + seconds * 1000

  function send(line: Line, due_ms: number): void {
    in_flight += 1
    line.send(bytes, (status) => {
      const now_ms = performance.now()
      in_flight -= 1
      if (due_ms >= counted_from_ms) {
        answers.push({ due_ms: due_ms + clock_ms, latency_ms: now_ms - due_ms, status })
      }
      if (status < 300 && status > 0 && now_ms >= counted_from_ms && now_ms < end_ms) accepted_in_time += 1
      const next_ms = queue[queue_at]
      if (next_ms === undefined) return free.push(line)
      queue_at += 1
      send(line, next_ms)
      return undefined
    })
  }

  function arrive(due_ms: number): void {
    const line = free.pop()
    if (due_ms >= counted_from_ms) lates_ms.push(performance.now() - due_ms)
    if (line) send(line, due_ms)
    else if (when_busy === 'wait') queue.push(due_ms)
    else if (due_ms >= counted_from_ms) given_up += 1
  }

  for (let sent = 0; sent < seconds * per_second; ) {
    const now_ms = performance.now()
    for (; sent < seconds * per_second; sent += 1) {
      const due_ms = started_ms + (sent * 1000) / per_second
      if (due_ms > now_ms) break
      arrive(due_ms)
    }
    await wait(1)
  }
  while (in_flight > 0 && performance.now() < end_ms + PATIENCE_MS) await wait(POLL_MS)
  const errors = in_flight + answers.filter(({ status }) => status === 0).length
  for (const line of lines) line.close()
  return summary(job, { answers, lates_ms, given_up, errors, accepted_in_time })
}

function summary(
  job: Extract<Job, { kind: 'open' }>,
  found: {
    answers: Answer[]
    lates_ms: number[]
    given_up: number
    errors: number
    accepted_in_time: number
  },
): LoadResult {
  const { answers, lates_ms, given_up, errors, accepted_in_time } = found
  const count_by_status: Record<string, number> = {}
  for (const { status } of answers) {
    if (status > 0) count_by_status[status] = (count_by_status[status] ?? 0) + 1
  }
  const accepted = answers.filter(({ status }) => status > 0 && status < 300)
  const latencies_ms = accepted.map(({ latency_ms }) => latency_ms)
  return {
    seconds: job.seconds - job.ignore_seconds,
    count_by_status,
    errors,
    // Of what was accepted: a refusal is fast, and nobody's wish.
    p50_ms: quantile(latencies_ms, 0.5),
    p99_ms: quantile(latencies_ms, 0.99),
    given_up,
    accepted_in_time,
    late_p99_ms: quantile(lates_ms, 0.99),
    ...(job.keeps_answers ? { answers } : {}),
  }
}
