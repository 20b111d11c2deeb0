import { parseArgs } from 'node:util'
import { StartError } from '../src/errors.ts'

export const SCENARIOS = [
  ...['holds', 'storms', 'reads', 'orders', 'funnel', 'limits'],
  ...['open-loop', 'overload', 'cliff', 'wave', 'memory', 'cluster'],
]

export const HELP = `npm run bench -- [options]

Measures Holdfast against its baselines in one run, on a Redis and a PostgreSQL of its own in a temporary folder. Every
arm has its turn in every round; figures are medians over the rounds, ratios are taken round by round. Ends with the
conservation check, and writes bench/report.md and bench/report.html. Exit code 1 when units are missing or too many.

Options
  --rounds N          how often every arm has its turn (5)
  --seconds N         how long each is measured, after a warm-up (1.6)
  --connections LIST  at the same time, each number a measurement of its own (64,256)
  --only LIST         of ${SCENARIOS.slice(0, 6).join(', ')},
                      ${SCENARIOS.slice(6).join(', ')} (all)
  --quick             two short rounds and small numbers: shows that it works, not how fast
  --out FOLDER        where the reports go (bench)
  --help              this text`

export type Options = {
  rounds: number
  seconds: number
  warm_up_seconds: number
  connections: number[]
  scenarios: string[]
  /** How often the scenarios that take long have their turn. */
  cliff_rounds: number
  cliff_holds: number
  /** Of each kind. */
  wave_per_second: number
  memory_rounds: number
  memory_holds: number
  cluster_rounds: number
  out: string
  is_quick: boolean
}

/** With fewer rounds a median says little. */
const ROUNDS = 5
const SECONDS = '1.6'
const WARM_UP_SECONDS = 1

const SIZES = {
  full: {
    warm_up_seconds: WARM_UP_SECONDS,
    cliff_rounds: 3,
    cliff_holds: 200_000,
    wave_per_second: 2_000,
    memory_rounds: 1,
    memory_holds: 100_000,
    cluster_rounds: 3,
  },
  quick: {
    warm_up_seconds: 0.2,
    cliff_rounds: 1,
    cliff_holds: 20_000,
    wave_per_second: 200,
    memory_rounds: 1,
    memory_holds: 20_000,
    cluster_rounds: 1,
  },
}

function readNumber(name: string, text: string, is_whole: boolean): number {
  const value = Number(text)
  const is_good = is_whole ? Number.isSafeInteger(value) && value >= 1 : value > 0 && value <= 600
  if (is_good) return value
  throw new StartError(
    `--${name} must be ${is_whole ? 'a whole number above 0' : 'a number of seconds up to 600'}`,
  )
}

/** What the command line asks for; undefined where it asks for help. Throws StartError. */
export function readOptions(argv: string[]): Options | undefined {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const options = {
    ...{ rounds: text, seconds: text, connections: text, only: text, out: text, quick: flag, help: flag },
  }
  let values: ReturnType<typeof parseArgs<{ options: typeof options }>>['values']
  try {
    values = parseArgs({ args: argv, options }).values
  } catch (error) {
    throw new StartError(`${(error as Error).message.split('.')[0]}: see npm run bench -- --help`)
  }
  if (values.help) return undefined
  const is_quick = values.quick
  const scenarios = values.only?.split(',').filter((name) => name !== '') ?? SCENARIOS
  const unknown = scenarios.find((name) => !SCENARIOS.includes(name))
  if (unknown) throw new StartError(`there is no scenario ${unknown}: choose from ${SCENARIOS.join(', ')}`)
  const connections = (values.connections ?? (is_quick ? '64' : '64,256')).split(',')
  return {
    ...SIZES[is_quick ? 'quick' : 'full'],
    rounds: readNumber('rounds', values.rounds ?? String(is_quick ? 2 : ROUNDS), true),
    seconds: readNumber('seconds', values.seconds ?? (is_quick ? '0.5' : SECONDS), false),
    connections: connections.map((one) => readNumber('connections', one, true)),
    scenarios,
    out: values.out ?? 'bench',
    is_quick,
  }
}
