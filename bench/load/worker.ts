import { measureLimit } from '../baselines/limits.ts'
import { closedLoop, funnel, orders, spread } from './closed.ts'
import type { Job, LoadResult, WorkerReply } from './jobs.ts'
import { openLoop } from './open.ts'

/*
  The load generator: a process of its own, so that its CPU time can be told from that of the server. It takes one job at a
  time from the process that started it, answers with what it has seen, and ends with that process.
*/

function run(job: Job): Promise<LoadResult> {
  switch (job.kind) {
    case 'closed':
      return closedLoop(job)
    case 'spread':
      return spread(job)
    case 'orders':
      return orders(job)
    case 'funnel':
      return funnel(job)
    case 'open':
      return openLoop(job)
    case 'limit':
      return measureLimit(job)
  }
}

process.on('message', (job: Job) => {
  run(job).then(
    (result) => process.send?.({ result } satisfies WorkerReply),
    (error: Error) => process.send?.({ error: error.message } satisfies WorkerReply),
  )
})
process.on('disconnect', () => process.exit())
