import type { Sample } from '../figures.ts'
import type { Job } from '../load/jobs.ts'
import { toSample } from '../measure.ts'
import type { ServerName } from '../stage.ts'
import { ARMS, type Arm } from './arms.ts'
import type { Context } from './context.ts'

/** Which arms a scenario puts under load. Those that several ask for run once a round. */
export const ROTATIONS: Record<string, string[]> = {
  holds: [
    ...['hold', 'bare', 'bare-at-once', 'naive', 'hold-keyed'],
    ...['row-lock', 'conditional-update', 'skip-locked', 'hold-again'],
  ],
  storms: ['bare', 'sold-out', 'all-held'],
  reads: ['read', 'bare-get', 'bare-get-at-once'],
  orders: ['order', 'insert-128', 'insert-1'],
  funnel: ['funnel'],
  limits: ['evalsha', 'evalsha-alone', 'zpopmin'],
}

/** Which arms these scenarios need, in the order of the rotation. */
export function armsOf(scenarios: string[]): Array<[string, Arm]> {
  const wanted = new Set(scenarios.flatMap((scenario) => ROTATIONS[scenario] ?? []))
  return Object.entries(ARMS).filter(([name]) => wanted.has(name))
}

/** Which servers these scenarios need besides the service. */
export function serversOf(scenarios: string[]): Set<ServerName> {
  const servers = armsOf(scenarios).flatMap(([, { server }]) => server ?? [])
  if (scenarios.includes('open-loop')) servers.push('bare')
  return new Set(servers)
}

/**
 * Waits until a server has done what the last load left in it: the generator hangs up on the requests that are on their way
 * when its time is up, and a slow server still works on them. One more request has its answer when those before it are done.
 */
async function settle(job: Job): Promise<void> {
  if (job.kind !== 'closed') return
  const { method, path, body, headers } = job.request
  const sent = { method, ...(body === undefined ? {} : { body }), ...(headers ? { headers } : {}) }
  const response = await fetch(job.url + path, sent)
  await response.arrayBuffer()
}

/** Warms an arm up, then measures it: what it did, and what CPU time that took. */
export async function measureArm(
  context: Context,
  [name, arm]: [string, Arm],
  connections: number,
  round: number,
): Promise<Sample> {
  const { stage, options } = context
  const warm_up = await arm.job(context, connections, options.warm_up_seconds)
  await stage.generator.run(warm_up)
  await settle(warm_up)
  const job = await arm.job(context, connections, options.seconds)
  const before = await stage.readCpu(arm.server)
  const result = await stage.generator.run(job)
  const after = await stage.readCpu(arm.server)
  await settle(job)
  return toSample({ name, connections, round, expects: arm.expects }, result, before, after)
}

function describe({ figures }: Sample, label: string): string {
  const cpu = (value: number | null | undefined) => (value == null ? '-' : value.toFixed(1))
  const parts = [figures.server_us, figures.redis_us, figures.postgres_us].map(cpu).join(' / ')
  const odd = figures.unexpected ? `, ${figures.unexpected} UNEXPECTED` : ''
  return `${label.padEnd(48)} ${Math.round(figures.per_second ?? 0)
    .toString()
    .padStart(8)}/s   CPU µs ${parts}${odd}`
}

/** One turn of all arms, at each number of connections. What needs no HTTP runs once. */
export async function rotate(context: Context, round: number): Promise<void> {
  const { options, ground, samples, say } = context
  const arms = armsOf(options.scenarios)
  const turn = async (entries: Array<[string, Arm]>, connections: number) => {
    if (entries.length === 0) return
    await ground.reset()
    say(`round ${round}, ${connections === 0 ? 'no HTTP' : `${connections} connections`}`)
    for (const entry of entries) {
      const sample = await measureArm(context, entry, connections, round)
      samples.push(sample)
      say(`  ${describe(sample, entry[1].label)}`)
    }
  }
  for (const connections of options.connections) {
    await turn(
      arms.filter(([, { server }]) => server !== undefined),
      connections,
    )
  }
  await turn(
    arms.filter(([, { server }]) => server === undefined),
    0,
  )
}
