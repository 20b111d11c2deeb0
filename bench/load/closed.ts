import { randomUUID } from 'node:crypto'
import autocannon from 'autocannon'
import type { Job, LoadResult } from './jobs.ts'

/** autocannon looks this often whether it is done, so a run ends that precisely. */
const SAMPLE_MS = 10
const JSON_HEADERS = { 'content-type': 'application/json' }

type Of<Kind extends Job['kind']> = Extract<Job, { kind: Kind }>

function cannon(options: Omit<autocannon.Options, 'sampleInt'>): Promise<LoadResult> {
  return new Promise((resolve, reject) => {
    const started_ms = performance.now()
    let last_answer_ms = started_ms
    const running = autocannon({ ...options, sampleInt: SAMPLE_MS }, (error, result) => {
      if (error) return reject(error)
      const counts = Object.entries(result.statusCodeStats).map(([status, { count }]) => [status, count])
      resolve({
        // With a fixed number of requests, what comes after the last answer is no work.
        seconds: options.amount === undefined ? result.duration : (last_answer_ms - started_ms) / 1000,
        count_by_status: Object.fromEntries(counts) as Record<string, number>,
        errors: result.errors,
        p50_ms: result.latency.p50,
        p99_ms: result.latency.p99,
      })
    })
    running.on('response', () => {
      last_answer_ms = performance.now()
    })
  })
}

/** The same request again and again. */
export function closedLoop({ url, connections, seconds, request, is_keyed }: Of<'closed'>) {
  const { method, path, body, headers } = request
  const sent = { method, path, ...(body === undefined ? {} : { body }), headers: headers ?? {} }
  const options = { url, connections, duration: seconds }
  if (!is_keyed) return cannon({ ...options, requests: [sent] })
  const setupRequest = (from: autocannon.Sent) => ({
    ...from,
    headers: { ...headers, 'idempotency-key': randomUUID() },
  })
  return cannon({ ...options, requests: [{ ...sent, setupRequest }] })
}

/** Several requests in turn, each connection beginning with another one. */
export function spread({ url, connections, seconds, requests }: Of<'spread'>) {
  const all = requests.map(({ headers = {}, ...request }) => ({ ...request, headers }))
  let turn = 0
  const setupClient = (client: autocannon.Client) => {
    turn += 1
    const first = turn % all.length
    client.setRequests([...all.slice(first), ...all.slice(0, first)])
  }
  return cannon({ url, connections, duration: seconds, requests: all, setupClient })
}

/** An order for every hold, each of them once. */
export function orders({ url, connections, hold_ids }: Of<'orders'>) {
  const remaining = hold_ids.values()
  const setupRequest = (from: autocannon.Sent) => ({
    ...from,
    body: JSON.stringify({ hold_id: remaining.next().value }),
  })
  const request = { method: 'POST', path: '/api/orders', headers: JSON_HEADERS, setupRequest }
  return cannon({ url, connections, amount: hold_ids.length, requests: [request] })
}

/** A buyer's whole way on each connection. A refused step is followed by requests that are refused too, and so counted. */
export function funnel({ url, connections, seconds, product_id }: Of<'funnel'>) {
  const post = { method: 'POST', headers: JSON_HEADERS }
  const hold = { ...post, path: '/api/holds', body: JSON.stringify({ product_id, qty: 1 }) }
  return cannon({
    url,
    connections,
    duration: seconds,
    requests: [
      {
        ...hold,
        onResponse(_status, body, context) {
          const { hold_id, order_id } = (JSON.parse(body) as { data?: Record<string, string> }).data ?? {}
          Object.assign(context, { hold_id, order_id })
        },
      },
      {
        ...post,
        path: '/api/orders',
        setupRequest: (from, { hold_id }) => ({ ...from, body: JSON.stringify({ hold_id }) }),
      },
      {
        ...post,
        path: '/api/payments/webhook',
        setupRequest: (from, { order_id }) => ({
          ...from,
          body: JSON.stringify({ idempotency_key: randomUUID(), order_id, status: 'success' }),
        }),
      },
    ],
  })
}
