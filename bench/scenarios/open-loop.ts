import { figure, type Sample } from '../figures.ts'
import type { ServerName } from '../stage.ts'
import { ARMS } from './arms.ts'
import { type Context, holdRequest } from './context.ts'
import { measureArm } from './rotation.ts'

/** The part of the capacity that is offered. */
const LOAD = 0.7
const WARM_UP_SECONDS = 0.5
/** How often more than the capacity is offered to see what becomes of what is accepted. */
const OVERLOAD = 3
/** Shedding goes by the delay of a second, so the first one and a half show only how it begins. */
const OVERLOAD_WARM_UP_SECONDS = 1.5
const OVERLOAD_SECONDS = 4
/** Several times what is answered in the time in which anything is still accepted. */
export const OVERLOAD_CONNECTIONS = 1_024

/** Holds per second at the most connections, measured now where the run has not measured it. */
async function capacity(context: Context, round: number): Promise<number> {
  const connections = Math.max(...context.options.connections)
  const pick = { arm: 'hold', figure: 'per_second', connections } as const
  const known = figure(context.samples, pick)
  if (known) return known.median
  if (!ARMS.hold) throw new Error('there is no arm that holds')
  await context.ground.reset()
  const sample = await measureArm(context, ['hold', ARMS.hold], connections, round)
  context.samples.push(sample)
  return sample.figures.per_second ?? 0
}

async function offer(
  { stage, ground, options }: Context,
  server: ServerName,
  per_second: number,
  load: {
    connections: number
    seconds: number
    ignore_seconds: number
    when_busy: 'wait' | 'give_up'
  },
) {
  await ground.reset()
  const request = holdRequest(ground.products.plenty)
  const url = stage.urlOf(server)
  const seconds = Math.max(load.seconds, options.seconds) + load.ignore_seconds
  return stage.generator.run({ kind: 'open', url, request, per_second, ...load, seconds })
}

/** Latency of holds, and of a server that does nothing, at the same steady rate. */
export async function openLoop(context: Context, round: number): Promise<void> {
  const connections = Math.max(...context.options.connections)
  const per_second = Math.round((await capacity(context, round)) * LOAD)
  for (const [arm, server] of [
    ['hold-open', 'service'],
    ['bare-open', 'bare'],
  ] as const) {
    const result = await offer(context, server, per_second, {
      ...{ connections, seconds: 0, ignore_seconds: WARM_UP_SECONDS, when_busy: 'wait' },
    })
    const { p50_ms, p99_ms, late_p99_ms = null, count_by_status, errors } = result
    const accepted = count_by_status[201] ?? 0
    const all = Object.values(count_by_status).reduce((sum, count) => sum + count, 0)
    const figures: Sample['figures'] = {
      per_second: accepted / result.seconds,
      offered_per_second: per_second,
      ...{ p50_ms, p99_ms, late_p99_ms },
      unexpected: all - accepted + errors,
    }
    context.samples.push({ arm, connections, round, figures })
    context.say(`  ${arm} at ${per_second}/s: p50 ${p50_ms.toFixed(2)} ms, p99 ${p99_ms.toFixed(2)} ms`)
  }
}

/** What becomes of holds when three times as many are asked for as can be placed. */
export async function overload(context: Context, round: number): Promise<void> {
  const peak = await capacity(context, round)
  const per_second = Math.round(peak * OVERLOAD)
  const result = await offer(context, 'service', per_second, {
    connections: OVERLOAD_CONNECTIONS,
    seconds: OVERLOAD_SECONDS,
    ignore_seconds: OVERLOAD_WARM_UP_SECONDS,
    when_busy: 'give_up',
  })
  const { p50_ms, p99_ms, late_p99_ms = null, count_by_status, seconds, errors } = result
  const known = (count_by_status[201] ?? 0) + (count_by_status[503] ?? 0)
  const all = Object.values(count_by_status).reduce((sum, count) => sum + count, 0)
  const figures: Sample['figures'] = {
    per_second: (result.accepted_in_time ?? 0) / seconds,
    offered_per_second: per_second,
    refused_per_second: (count_by_status[503] ?? 0) / seconds,
    given_up_per_second: (result.given_up ?? 0) / seconds,
    ...{ p50_ms, p99_ms, late_p99_ms },
    unexpected: all - known + errors,
  }
  context.samples.push({ arm: 'overload', connections: OVERLOAD_CONNECTIONS, round, figures })
  // The peak of this very moment, as the ratio's other half.
  context.samples.push({
    arm: 'peak',
    connections: OVERLOAD_CONNECTIONS,
    round,
    figures: { per_second: peak },
  })
  context.say(
    `  overload: ${per_second}/s offered, ${Math.round(figures.per_second ?? 0)}/s accepted, p99 ${p99_ms?.toFixed(0) ?? '-'} ms`,
  )
}
