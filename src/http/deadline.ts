import type { FastifyInstance } from 'fastify'
import { UnavailableError } from '../errors.ts'

/**
 * A handler takes no longer than this, so that every answer comes within the 3 s that are promised. Each step is bounded by
 * itself; with a PostgreSQL that is slow at every one of them, the sum is not.
 */
const DEADLINE_MS = 2_700

/** Answers 503 in the place of a handler that takes too long. What it has begun goes on; the journal knows of it. */
export function addDeadline(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    const { handler } = route
    route.handler = async function (request, reply) {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(
          () => reject(new UnavailableError('unavailable', 'the answer took too long')),
          DEADLINE_MS,
        )
      })
      try {
        return await Promise.race([handler.call(this, request, reply), late])
      } finally {
        clearTimeout(timer)
      }
    }
  })
}
