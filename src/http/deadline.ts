import type { FastifyInstance } from 'fastify'
import { UnavailableError } from '../errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether all that a handler waits for is bounded to less than the deadline by itself. */
    is_bounded?: boolean
  }
}

/**
 * A handler takes no longer than this, so that every answer comes within the 3 s that are promised. Each step is bounded by
 * itself; with a PostgreSQL that is slow at every one of them, the sum is not.
 */
export const DEADLINE_MS = 2_700

/** What is awaited, or UnavailableError after the deadline. */
export function inTime<Answer>(answer: Promise<Answer>, deadline_ms: number): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new UnavailableError('unavailable', 'the answer took too long')),
      deadline_ms,
    )
    answer.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/** Answers 503 in the place of a handler that takes too long. What it has begun goes on; the journal knows of it. */
export function addDeadline(app: FastifyInstance, deadline_ms: number): void {
  app.addHook('onRoute', (route) => {
    const { handler } = route
    if (route.config?.is_bounded) return
    route.handler = function (request, reply) {
      const answer = handler.call(this, request, reply)
      return answer instanceof Promise ? inTime(answer, deadline_ms) : answer
    }
  })
}
