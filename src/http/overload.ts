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
const SAMPLE_EVERY_MS = 500
/** The loop is late while a process starts, which says nothing of the requests that come then. */
const WARM_UP_MS = 5_000

/**
 * Sheds load: while the event loop is late, some new holds and reads are refused at once, before their bodies are read, so that
 * what was accepted stays fast: as large a share of them as the delay is too long, since refusing all until the next look would
 * leave the process idle. Orders, payments and whatever ends a sale go on.
 */
export async function addLoadShedding(app: FastifyInstance): Promise<void> {
  let warm_at_ms = Number.POSITIVE_INFINITY
  let excess = 0
  app.addHook('onReady', async () => {
    warm_at_ms = performance.now() + WARM_UP_MS
  })
  await app.register(underPressure, {
    maxEventLoopDelay: MAX_LOOP_DELAY_MS,
    sampleInterval: SAMPLE_EVERY_MS,
    pressureHandler: (request: FastifyRequest, reply: FastifyReply, _type: string, delay_ms = 0) => {
      if (!request.routeOptions.config.is_shed || performance.now() < warm_at_ms) return
      excess += 1 - MAX_LOOP_DELAY_MS / delay_ms
      if (excess < 1) return
      excess -= 1
      sendProblem(reply, 'unavailable', 'More requests come than can be answered in time.')
    },
  })
}
