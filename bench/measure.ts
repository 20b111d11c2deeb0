import { readdir, readFile } from 'node:fs/promises'
import type { Redis } from 'ioredis'
import type { Sample } from './figures.ts'
import type { LoadResult } from './load/jobs.ts'

/** The kernel counts CPU time for /proc in ticks of this length, on every Linux that Node runs on. */
const TICK_MS = 10
/** Fields of /proc/<pid>/stat, counted after the name, which may itself contain spaces. */
const FIELD = { parent: 1, user: 11, system: 12, children_user: 13, children_system: 14 } as const

/** CPU time in ms that each part has used so far; null where this system does not tell. */
export type CpuReading = {
  server: number | null
  redis: number | null
  postgres: number | null
  generator: number | null
}

async function readStat(pid: number): Promise<number[] | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  return line
    ?.slice(line.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
}

const ticks = (stat: number[], names: Array<keyof typeof FIELD>) =>
  names.reduce((sum, name) => sum + (stat[FIELD[name]] ?? 0), 0)

/** CPU time of a process, all its threads together, in ms. */
export async function processCpu(pid: number | undefined): Promise<number | null> {
  const stat = pid === undefined ? undefined : await readStat(pid)
  return stat ? ticks(stat, ['user', 'system']) * TICK_MS : null
}

/**
 * CPU time of a process and all that it has started, in ms: of those that still run, and of those that have ended. So it
 * never falls, whichever of PostgreSQL's processes come and go.
 */
export async function familyCpu(pid: number): Promise<number | null> {
  const parent = await readStat(pid)
  if (!parent) return null
  let sum = ticks(parent, ['user', 'system', 'children_user', 'children_system'])
  for (const name of await readdir('/proc')) {
    const stat = /^\d+$/.test(name) ? await readStat(Number(name)) : undefined
    if (stat?.[FIELD.parent] === pid) sum += ticks(stat, ['user', 'system'])
  }
  return sum * TICK_MS
}

/** The process that started this one; undefined where the system does not tell. */
export async function parentOf(pid: number): Promise<number | undefined> {
  return (await readStat(pid))?.[FIELD.parent]
}

/** CPU time of Redis in ms, as it says itself. Without its children, which only rewrite the log. */
export async function redisCpu(redis: Redis): Promise<number> {
  const info = await redis.info('cpu')
  const read = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1])
  return (read('used_cpu_user') + read('used_cpu_sys')) * 1000
}

/** Puts together what an arm gave: requests per second, latency, and the CPU time that each part spent per request. */
export function toSample(
  arm: { name: string; connections: number; round: number; expects: number[] },
  result: LoadResult,
  before: CpuReading,
  after: CpuReading,
): Sample {
  const counts = Object.entries(result.count_by_status)
  const all = counts.reduce((sum, [, count]) => sum + count, 0)
  const expected = counts
    .filter(([status]) => arm.expects.includes(Number(status)))
    .reduce((sum, [, count]) => sum + count, 0)
  const each = (part: keyof CpuReading): number | null => {
    const [from_ms, to_ms] = [before[part], after[part]]
    return from_ms === null || to_ms === null || all === 0 ? null : ((to_ms - from_ms) * 1000) / all
  }
  const { name, connections, round } = arm
  return {
    arm: name,
    connections,
    round,
    figures: {
      per_second: expected / result.seconds,
      p50_ms: result.p50_ms,
      p99_ms: result.p99_ms,
      server_us: each('server'),
      redis_us: each('redis'),
      postgres_us: each('postgres'),
      generator_us: each('generator'),
      unexpected: all - expected + result.errors,
    },
  }
}
