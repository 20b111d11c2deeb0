import type { FastifyInstance, onSendHookHandler, RouteOptions } from 'fastify'
import { Counter } from 'prom-client'
import { createTally, type Observe } from '../metrics/tally.ts'
import { REPLAYED_HEADER } from './idempotency.ts'
import type { Metrics } from './metrics.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** When the request came, by `performance.now()`. */
    came_ms: number
  }
  interface FastifyReply {
    /** What became of what was asked, for the count of its kind. */
    outcome?: string
  }
}

/** A hold of an idle service takes a millisecond or two; every answer comes within 3 s. */
const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3] as const

const PAYMENTS = {
  name: 'holdfast_payments_total',
  help: 'Notices of payments by their outcome, or by the code of the refusal',
  success: 'ignored',
  zeros: ['applied', 'parked', 'duplicate', 'ignored', 'refund_due'],
}

/** Routes whose answers are counted by what became of them, and what that is where nothing is refused or replayed. */
const COUNTED: Record<string, { name: string; help: string; success: string; zeros: string[] }> = {
  '/api/holds': {
    name: 'holdfast_holds_total',
    help: 'Requests for a hold: granted, replayed, or the code of the refusal',
    success: 'granted',
    zeros: ['granted', 'replayed'],
  },
  '/api/orders': {
    name: 'holdfast_orders_total',
    help: 'Requests for an order: created, replayed, or the code of the refusal',
    success: 'created',
    zeros: ['created', 'replayed'],
  },
  '/api/payments/webhook': PAYMENTS,
  '/api/payments/webhook/stripe': PAYMENTS,
}

function addOnSend(route: RouteOptions, hook: onSendHookHandler): void {
  const { onSend = [] } = route
  route.onSend = [...(Array.isArray(onSend) ? onSend : [onSend]), hook]
}

/**
 * Counts and times the answers of documented routes as they are made: a buyer who is gone by then has the hold all the same.
 * One hook does both, and whatever depends on the route, the status or the outcome is looked up once. To be called before the
 * routes are added.
 */
export function measureRoutes(app: FastifyInstance, { registry }: Pick<Metrics, 'registry'>): void {
  const durations = createTally({
    name: 'holdfast_http_request_duration_seconds',
    help: 'Time from the request to its answer, by route',
    buckets: REQUEST_SECONDS,
    registry,
  })
  const counters = new Map<string, Counter<'outcome'>>()

  function counterOf({ name, help, zeros }: (typeof COUNTED)[string]): (outcome: string) => void {
    const known = counters.get(name)
    const counter = known ?? new Counter({ name, help, labelNames: ['outcome'], registers: [registry] })
    counters.set(name, counter)
    const children = new Map<string, Counter.Internal>()
    const count = (outcome: string, by = 1): void => {
      const child = children.get(outcome) ?? counter.labels({ outcome })
      children.set(outcome, child)
      child.inc(by)
    }
    for (const outcome of zeros) count(outcome, 0)
    return count
  }

  app.decorateRequest('came_ms', 0)
  app.decorateReply('problem_code')
  app.decorateReply('outcome')
  app.addHook('onRoute', (route) => {
    if (!route.schema || route.schema.hide || route.method === 'HEAD') return
    const kind = route.method === 'POST' ? COUNTED[route.url] : undefined
    const count = kind && counterOf(kind)
    const observers = new Map<number, Observe>()
    const method = String(route.method)
    addOnSend(route, (request, reply, _payload, done) => {
      const status = reply.statusCode
      let observe = observers.get(status)
      if (!observe) {
        observe = durations.of({ method, route: route.url, status: String(status) })
        observers.set(status, observe)
      }
      observe((performance.now() - request.came_ms) / 1000)
      if (kind && count) {
        const success = reply.hasHeader(REPLAYED_HEADER) ? 'replayed' : kind.success
        count(reply.problem_code ?? reply.outcome ?? success)
      }
      done()
    })
  })
}
