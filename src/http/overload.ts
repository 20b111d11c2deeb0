import underPressure from '@fastify/under-pressure'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { sendProblem } from './problem.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether this route is the first to be refused when there is more to do than can be done. */
    is_shed?: boolean
  }
}

/**
 * By then a request waits longer for its turn than a buyer should. A process that has enough to do but not too much has under
 * 50 ms, a machine that is shared with others some 200 ms.
 */
const MAX_LOOP_DELAY_MS = 500
/** Long enough that a single pause, of a garbage collection or the whole machine, does not count. */
const SAMPLE_EVERY_MS = 1_000
/** The loop is late while a process starts, which says nothing of the requests that come then. */
const WARM_UP_MS = 5_000

/**
 * Sheds load: while the event loop is late, new holds and reads are refused at once, before their bodies are read, so that
 * what was accepted stays fast. Orders, payments and whatever ends a sale go on.
 */
export async function addLoadShedding(app: FastifyInstance): Promise<void> {
  let warm_at_ms = Number.POSITIVE_INFINITY
  app.addHook('onReady', async () => {
    warm_at_ms = performance.now() + WARM_UP_MS
  })
  await app.register(underPressure, {
    maxEventLoopDelay: MAX_LOOP_DELAY_MS,
    sampleInterval: SAMPLE_EVERY_MS,
    pressureHandler: (request: FastifyRequest, reply: FastifyReply) => {
      if (!request.routeOptions.config.is_shed || performance.now() < warm_at_ms) return
      sendProblem(reply, 'unavailable', 'More requests come than can be answered in time.')
    },
  })
}
