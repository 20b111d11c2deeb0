import { type FigureName, figure, type Pick, ratio, type Sample, type Spread } from './figures.ts'

/** A figure of an arm, at the connections that are asked for or at its own. */
type Term = { arm: string; figure: FigureName; connections?: number }

export type Goal = {
  name: string
  of: Term
  /** What it is divided by; a goal without one is about the figure itself. */
  by?: Term
  better: 'more' | 'less'
  goal: number
  stretch?: number
  /** Asked for at the most connections alone. */
  is_at_most_connections?: boolean
  unit?: string
}

const rate = (arm: string, connections?: number): Term =>
  connections === undefined ? { arm, figure: 'per_second' } : { arm, figure: 'per_second', connections }
const more = { better: 'more' } as const
const less = { better: 'less' } as const
/** Arms that have one number of connections, or none. */
const OWN = { limits: 0, cliff: 64, wave: 64, overload: 4_096, cluster: 256 }

/** What is aimed at, as ratios of two arms of the same round: they depend less on the machine than the figures. */
export const GOALS: Goal[] = [
  { name: 'holds/s ÷ bare POST (b)', of: rate('hold'), by: rate('bare'), ...more, goal: 0.9, stretch: 1 },
  {
    ...{ name: 'holds/s ÷ bare POST, at once (b0)', of: rate('hold'), by: rate('bare-at-once') },
    ...{ ...more, goal: 1.2, stretch: 1.4 },
  },
  {
    name: 'API CPU per hold ÷ (b)',
    of: { arm: 'hold', figure: 'server_us' },
    by: { arm: 'bare', figure: 'server_us' },
    ...{ ...less, goal: 1.15, stretch: 1 },
  },
  {
    ...{ name: 'holds/s ÷ one EVALSHA a request (c)', of: rate('hold'), by: rate('naive') },
    ...{ ...more, goal: 1.4, stretch: 1.8 },
  },
  {
    name: 'Redis CPU per hold ÷ (c)',
    of: { arm: 'hold', figure: 'redis_us' },
    by: { arm: 'naive', figure: 'redis_us' },
    ...{ ...less, goal: 0.4, stretch: 0.25, is_at_most_connections: true },
  },
  { name: 'holds/s ÷ row lock (d)', of: rate('hold'), by: rate('row-lock'), ...more, goal: 15, stretch: 25 },
  {
    ...{ name: 'holds/s ÷ conditional update (e)', of: rate('hold'), by: rate('conditional-update') },
    ...{ ...more, goal: 6, stretch: 12 },
  },
  {
    ...{ name: 'holds/s ÷ SKIP LOCKED (g)', of: rate('hold'), by: rate('skip-locked') },
    ...{ ...more, goal: 4, stretch: 8 },
  },
  {
    ...{ name: 'sold-out replies/s ÷ bare POST (b)', of: rate('sold-out'), by: rate('bare') },
    ...{ ...more, goal: 1, stretch: 1.2 },
  },
  {
    ...{ name: 'all-held replies/s ÷ bare POST (b)', of: rate('all-held'), by: rate('bare') },
    ...{ ...more, goal: 1, stretch: 1.2 },
  },
  {
    ...{ name: 'product reads/s ÷ bare GET (b)', of: rate('read'), by: rate('bare-get') },
    ...{ ...more, goal: 1, stretch: 1.2 },
  },
  {
    name: 'durable orders/s ÷ rows/s inserted, 128 a commit',
    of: rate('order'),
    by: rate('insert-128', OWN.limits),
    ...{ ...more, goal: 0.12, stretch: 0.2 },
  },
  {
    name: 'durable orders/s ÷ rows/s inserted, one a commit',
    of: rate('order'),
    by: rate('insert-1', OWN.limits),
    ...{ ...more, goal: 2.5, stretch: 5 },
  },
  {
    name: 'bytes per live hold ÷ a key a hold',
    of: { arm: 'memory-hold', figure: 'bytes', connections: OWN.limits },
    by: { arm: 'memory-naive', figure: 'bytes', connections: OWN.limits },
    ...{ ...less, goal: 0.9, stretch: 0.55 },
  },
  {
    name: 'hold p99 at 70 % load, open loop ÷ bare POST (b)',
    of: { arm: 'hold-open', figure: 'p99_ms' },
    by: { arm: 'bare-open', figure: 'p99_ms' },
    ...{ ...less, goal: 2, stretch: 1.3, is_at_most_connections: true },
  },
  {
    name: 'cliff: until all units are back',
    of: { arm: 'cliff', figure: 'back_ms', connections: OWN.cliff },
    ...{ ...less, goal: 3_000, unit: 'ms' },
  },
  {
    name: 'cliff: slowest script call',
    of: { arm: 'cliff', figure: 'slowest_us', connections: OWN.cliff },
    ...{ ...less, goal: 2_000, unit: 'µs' },
  },
  {
    name: 'cliff: hold p99 during ÷ before',
    of: { arm: 'cliff', figure: 'p99_ms', connections: OWN.cliff },
    by: { arm: 'cliff-before', figure: 'p99_ms', connections: OWN.cliff },
    ...{ ...less, goal: 2 },
  },
  {
    name: 'wave: latest unpaid order',
    of: { arm: 'wave', figure: 'order_late_ms', connections: OWN.wave },
    ...{ ...less, goal: 1_500, unit: 'ms' },
  },
  {
    name: 'wave: latest paid hold',
    of: { arm: 'wave', figure: 'paid_hold_late_ms', connections: OWN.wave },
    ...{ ...less, goal: 3_000, unit: 'ms' },
  },
  {
    name: 'wave: hold p99 during ÷ before',
    of: { arm: 'wave', figure: 'p99_ms', connections: OWN.wave },
    by: { arm: 'wave-before', figure: 'p99_ms', connections: OWN.wave },
    ...{ ...less, goal: 2 },
  },
  {
    name: "cluster: busiest master's share of Redis CPU",
    of: { arm: 'cluster', figure: 'busiest_share', connections: OWN.cluster },
    ...{ ...less, goal: 0.4 },
  },
  {
    name: 'cluster: Redis CPU per hold ÷ one server',
    of: { arm: 'cluster', figure: 'redis_us', connections: OWN.cluster },
    by: { arm: 'one-server', figure: 'redis_us', connections: OWN.cluster },
    ...{ ...less, goal: 1.15 },
  },
  {
    name: 'cluster: the same of a cluster of one master',
    of: { arm: 'one-master', figure: 'redis_us', connections: OWN.cluster },
    by: { arm: 'one-server', figure: 'redis_us', connections: OWN.cluster },
    ...{ ...less, goal: 1.15 },
  },
]

export type Verdict = 'stretch' | 'met' | 'missed' | 'not measured'
export type Result = { goal: Goal; connections: number; found: Spread | undefined; verdict: Verdict }

/** The median decides. */
export function judge({ better, goal, stretch }: Goal, found: Spread | undefined): Verdict {
  if (!found || Number.isNaN(found.median)) return 'not measured'
  const reaches = (mark: number) => (better === 'more' ? found.median >= mark : found.median <= mark)
  if (stretch !== undefined && reaches(stretch)) return 'stretch'
  return reaches(goal) ? 'met' : 'missed'
}

/** Every goal at every number of connections for which it is set. */
export function results(samples: Sample[], all_connections: number[]): Result[] {
  const most = Math.max(...all_connections)
  return GOALS.flatMap((goal) => {
    const own = goal.of.connections
    const asked = goal.is_at_most_connections ? [most] : all_connections
    return (own === undefined ? asked : [own]).map((connections): Result => {
      const at = (term: Term): Pick => ({ connections, ...term })
      const found = goal.by ? ratio(samples, at(goal.of), at(goal.by)) : figure(samples, at(goal.of))
      return { goal, connections, found, verdict: judge(goal, found) }
    })
  })
}
