import type { LimitName } from '../baselines/limits.ts'

export type HttpRequest = {
  method: 'GET' | 'POST'
  path: string
  body?: string
  headers?: Record<string, string>
}

/** What the load generator is asked to do. */
export type Job =
  /** Each connection sends its next request when it has the answer to the last one. */
  | {
      kind: 'closed'
      url: string
      connections: number
      seconds: number
      request: HttpRequest
      /** Every request has an Idempotency-Key of its own. */
      is_keyed?: boolean
    }
  /** The same with a request for one of these products, drawn each time. */
  | { kind: 'spread'; url: string; connections: number; seconds: number; requests: HttpRequest[] }
  /** The same with an order for each of these holds, until all are used. */
  | { kind: 'orders'; url: string; connections: number; hold_ids: string[] }
  /** Hold, order and payment in turn on each connection. */
  | { kind: 'funnel'; url: string; connections: number; seconds: number; product_id: number }
  /** Requests are due at a steady rate, whatever the server does. */
  | {
      kind: 'open'
      url: string
      connections: number
      seconds: number
      per_second: number
      request: HttpRequest
      /** What was due in the first seconds is sent, and not counted. */
      ignore_seconds: number
      /** A request that finds every connection busy waits for one, or is given up. */
      when_busy: 'wait' | 'give_up'
      /** Whether each answer is reported with the moment in which it was due. */
      keeps_answers?: boolean
    }
  /** What Redis or PostgreSQL can do without HTTP. */
  | { kind: 'limit'; name: LimitName; redis_url: string; database_url: string; seconds: number }

/** `due_ms` is on the clock of Date.now(). */
export type Answer = { due_ms: number; latency_ms: number; status: number }

export type LoadResult = {
  seconds: number
  count_by_status: Record<string, number>
  /** Broken connections and time-outs. */
  errors: number
  p50_ms: number
  p99_ms: number
  /** Of an open loop: requests that found every connection busy and were given up. */
  given_up?: number
  /** Of an open loop: successes that came while requests were due, not after. */
  accepted_in_time?: number
  /** Of an open loop: how much later than due the generator itself sent. */
  late_p99_ms?: number
  answers?: Answer[]
}

export type WorkerReply = { result: LoadResult } | { error: string }
