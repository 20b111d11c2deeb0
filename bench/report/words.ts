import { control, type FigureName, figure, NOISE_LIMIT, ratio, type Sample, type Spread } from '../figures.ts'
import type { Result } from '../goals.ts'
import { ARMS } from '../scenarios/arms.ts'
import { NODE_COUNTS, nodesArm } from '../scenarios/cluster.ts'
import { OVERLOAD_CONNECTIONS } from '../scenarios/open-loop.ts'
import type { Report } from './report.ts'

/** A number with the digits that mean something. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return '-'
  const size = Math.abs(value)
  if (size >= 1_000) return Math.round(value).toLocaleString('en-US')
  if (size >= 100) return String(Math.round(value))
  return size >= 10 ? value.toFixed(1) : value.toFixed(2)
}

export const range = (found: Spread | undefined) =>
  found ? `${number(found.min)} to ${number(found.max)}` : '-'

export function goalCells({ goal, connections, found, verdict }: Result): string[] {
  const mark = (value: number | undefined) =>
    value === undefined ? '-' : `${goal.better === 'more' ? '≥' : '≤'} ${number(value)}`
  const unit = goal.unit ? ` ${goal.unit}` : ''
  const value = found ? `${number(found.median)}${unit}` : '-'
  const at = connections === 0 ? '-' : String(connections)
  return [goal.name, at, value, range(found), mark(goal.goal), mark(goal.stretch), verdict]
}

export const GOAL_HEADS = ['figure', 'connections', 'median', 'rounds', 'goal', 'stretch', '']

export type ArmRow = {
  name: string
  label: string
  connections: number
  of(name: FigureName): Spread | undefined
}

/** The arms of the rotation that were measured, at each number of connections; those without HTTP come last. */
export function armRows(samples: Sample[]): ArmRow[] {
  const order = (connections: number) => (connections === 0 ? Number.POSITIVE_INFINITY : connections)
  const all = new Set(samples.map(({ connections }) => connections))
  const seen = [...all].sort((one, other) => order(one) - order(other))
  return seen.flatMap((connections) =>
    Object.entries(ARMS).flatMap(([name, { label }]) => {
      const of = (found: FigureName) => figure(samples, { arm: name, figure: found, connections })
      return of('per_second') ? [{ name, label, connections, of }] : []
    }),
  )
}

export const ARM_HEADS = [
  ...['arm', 'connections', 'per second', 'rounds', 'p50 ms', 'p99 ms'],
  ...['server CPU µs', 'Redis CPU µs', 'PostgreSQL CPU µs', 'generator CPU µs', 'unexpected'],
]

export function armCells({ label, connections, of }: ArmRow): string[] {
  const cpu = (name: FigureName) => {
    const found = of(name)
    return found ? number(found.median) : 'not measured'
  }
  const per_second = of('per_second')
  const server = connections === 0 ? '-' : cpu('server_us')
  return [
    label,
    connections === 0 ? '-' : String(connections),
    number(per_second?.median),
    range(per_second),
    number(of('p50_ms')?.median),
    number(of('p99_ms')?.median),
    server,
    ...[cpu('redis_us'), cpu('postgres_us'), cpu('generator_us')],
    String(of('unexpected')?.max ?? 0),
  ]
}

/** How far an arm differs from itself. */
export function controlLines({ samples, options }: Report): string[] {
  const lines = options.connections.flatMap((connections) => {
    const found = control(samples, 'hold', 'hold-again', connections)
    if (!found) return []
    const by = `${(found.difference * 100).toFixed(1)} %`
    const words = `A/A at ${connections} connections: the same arm twice differs by ${by}`
    return found.is_noisy
      ? [
          `${words}, more than ${NOISE_LIMIT * 100} %: this machine is too noisy, repeat the run when it is quiet`,
        ]
      : [words]
  })
  return lines.length === 0 ? ['A/A: not measured'] : lines
}

const SPREAD: Array<[FigureName, string]> = [
  ['per_second', 'holds/s'],
  ['redis_us', 'Redis CPU µs of a hold'],
  ['script_us', 'time of scripts µs of a hold'],
  ['script_calls', 'calls of scripts for 1,000 holds'],
  ['server_us', 'API CPU µs of a hold'],
  ['unexpected', 'unexpected'],
]

const OTHERS: Array<[arm: string, label: string, figures: Array<[FigureName, string]>]> = [
  [
    'hold-open',
    'Holdfast: hold, open loop at 70 %',
    [
      ['offered_per_second', 'offered/s'],
      ['per_second', 'accepted/s'],
      ['p50_ms', 'p50 ms'],
      ['p99_ms', 'p99 ms'],
      ['late_p99_ms', 'generator late, p99 ms'],
      ['unexpected', 'unexpected'],
    ],
  ],
  [
    'bare-open',
    '(b) bare Fastify POST, the same rate',
    [
      ['offered_per_second', 'offered/s'],
      ['per_second', 'accepted/s'],
      ['p50_ms', 'p50 ms'],
      ['p99_ms', 'p99 ms'],
      ['late_p99_ms', 'generator late, p99 ms'],
      ['unexpected', 'unexpected'],
    ],
  ],
  [
    'overload',
    'Holdfast: hold, three times the capacity offered',
    [
      ['offered_per_second', 'offered/s'],
      ['per_second', 'accepted/s'],
      ['refused_per_second', 'refused with 503/s'],
      ['given_up_per_second', 'found no connection/s'],
      ['p99_ms', 'p99 of the accepted, ms'],
      ['late_p99_ms', 'generator late, p99 ms'],
      ['unexpected', 'unexpected'],
    ],
  ],
  [
    'cliff',
    'Holdfast: expiry cliff',
    [
      ['back_ms', 'all units back after ms'],
      ['slowest_us', 'slowest script µs'],
      ['slow_calls', 'script calls over 2 ms'],
      ['p99_ms', 'hold p99 during, ms'],
      ['unexpected', 'unexpected'],
    ],
  ],
  ['cliff-before', 'Holdfast: before the cliff', [['p99_ms', 'hold p99, ms']]],
  [
    'wave',
    'Holdfast: unpaid orders and paid holds end',
    [
      ['order_late_ms', 'latest order, ms late'],
      ['paid_hold_late_ms', 'latest paid hold, ms late'],
      ['p99_ms', 'hold p99 during, ms'],
      ['unexpected', 'unexpected'],
    ],
  ],
  ['wave-before', 'Holdfast: before they end', [['p99_ms', 'hold p99, ms']]],
  ['memory-hold', 'Holdfast: a live hold', [['bytes', 'bytes']]],
  ['memory-naive', '(c) a key a hold and a sorted set', [['bytes', 'bytes']]],
  ['one-server', 'Holdfast: hold, 12 shards on one Redis', SPREAD],
  ['one-master', 'Holdfast: hold, 12 shards on a cluster of one master', SPREAD],
  [
    'cluster',
    'Holdfast: hold, 12 shards on three masters',
    [
      ...SPREAD,
      ['busiest_us', 'Redis CPU µs of a hold at the busiest master'],
      ['busiest_share', 'share of the busiest master'],
    ],
  ],
  ...NODE_COUNTS.map((count): (typeof OTHERS)[number] => [
    nodesArm(count),
    `Holdfast: order, ${count === 1 ? 'one API' : `${count} APIs`} on the cluster`,
    [
      ['transactions', 'PostgreSQL transactions for 1,000 orders'],
      ['unexpected', 'unexpected'],
    ],
  ]),
]

/** Everything that is no requests per second of the rotation. */
export function otherRows({ samples }: Report): string[][] {
  const [per_second, connections] = ['per_second', OVERLOAD_CONNECTIONS] as const
  const goodput = ratio(
    samples,
    { arm: 'overload', figure: per_second, connections },
    { arm: 'peak', figure: per_second, connections },
  )
  const overload = goodput
    ? [['Holdfast: hold, overload', 'accepted ÷ peak', number(goodput.median), range(goodput)]]
    : []
  const rows = OTHERS.flatMap(([arm, label, figures]) => {
    const connections = samples.find((sample) => sample.arm === arm)?.connections
    if (connections === undefined) return []
    return figures.flatMap(([name, words]) => {
      const found = figure(samples, { arm, figure: name, connections })
      return found ? [[label, words, number(found.median), range(found)]] : []
    })
  })
  return [...rows, ...overload]
}

export const OTHER_HEADS = ['what', 'figure', 'median', 'rounds']

/** Each product's equation at the end of the run. */
export function equationRows({ shard }: Report): string[][] {
  return shard.products.map(({ id, name, stock, differences }) => {
    const agrees = differences.length === 0 ? 'agrees' : 'DIFFERS'
    if (!stock) return [`${id} ${name}`, '-', agrees]
    const { available, held, pending, sold, total } = stock
    return [`${id} ${name}`, `${available} + ${held} + ${pending} + ${sold} = ${total}`, agrees]
  })
}

export const EQUATION_HEADS = ['product', 'available + held + pending + sold = total', 'PostgreSQL']

export function booksLines({ books }: Report): string[] {
  const { checks, failures } = books
  if (failures.length === 0) return [`Redis and PostgreSQL were compared ${checks} times and always agreed.`]
  return [
    `Redis and PostgreSQL were compared ${checks} times and DIFFERED:`,
    ...failures.map((line) => `- ${line}`),
  ]
}
