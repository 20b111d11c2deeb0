import { rm } from 'node:fs/promises'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { runCommand } from '../../src/bin/lifecycle.ts'
import { StartError } from '../../src/errors.ts'
import { exploreIn } from './crew.ts'
import { PLANTED, plant, ROOT } from './planted.ts'

const HELP = `npm run explore -- [options]

Runs complete services in one process, on a Redis and a PostgreSQL of its own, and holds back each of their calls to either: a seed decides
which goes on next, when time passes, and what fails. Buyers hold, order, pay and cancel meanwhile, and the shop changes stock, price and
shard. Whatever they were told must be true in the end, and every unit must be where it belongs. Ends at the first run in which something
is not, with the shortest story of it that was found in a minute. Exit code 1 then.

Options
  --seed N      the first seed (1); the same seed is the same run
  --runs N      how many runs (200), each with the next seed
  --minutes N   or for how long
  --services N  at the same time (2)
  --buyers N    in a run (3)
  --faults N    at most in a run (4)
  --at-once N   how many runs at once (as many as there are cores)
  --story       tells each run, not only the one that failed
  --planted     plants faults, one after the other, and tells after how many runs each was found; exit code 1 if one was not
  --only TEXT   those of them that have this text
  --help        this text`

const NUMBERS = {
  seed: 1,
  runs: 200,
  minutes: 0,
  services: 2,
  buyers: 3,
  faults: 4,
  'at-once': cpus().length,
}
const PLANTED_RUNS = Number(process.env.PLANTED_RUNS ?? 3_000)
const SHORTEN_MS = Number(process.env.SHORTEN ?? 60_000)

function readOptions(argv: string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const names = Object.keys(NUMBERS) as Array<keyof typeof NUMBERS>
  const options = {
    ...Object.fromEntries(names.map((name) => [name, text])),
    ...{ only: text, story: flag, planted: flag, help: flag },
  }
  let values: Record<string, string | boolean | undefined>
  try {
    values = parseArgs({ args: argv, options }).values
  } catch (error) {
    throw new StartError(`${(error as Error).message.split('.')[0]}: see npm run explore -- --help`)
  }
  const numbers = names.map((name) => {
    const value = Number(values[name] ?? NUMBERS[name])
    if (Number.isSafeInteger(value) && value >= 0) return [name, value]
    throw new StartError(`--${name} must be a whole number`)
  })
  const { story, planted, help, only = '' } = values
  return { ...(Object.fromEntries(numbers) as typeof NUMBERS), story, planted, help, only: String(only) }
}

const print = (line: string) => void process.stdout.write(`${line}\n`)
function tell(steps: string[]): void {
  for (const [at, step] of steps.entries()) print(`${at + 1}. ${step}`)
}

runCommand({ is_service: false }, async (life) => {
  const { seed, runs, minutes, services, buyers, faults, ...more } = readOptions(process.argv.slice(2))
  if (more.help) {
    print(HELP)
    return 0
  }
  const each = { services, buyers, faults }
  const crew = { size: Math.max(1, more['at-once']), seed, stopping: life.stopping }
  if (more.planted) {
    let missed = 0
    for (const planted of PLANTED.filter(({ what }) => what.includes(more.only))) {
      const root = await plant(planted)
      let count = 0
      try {
        const found = await exploreIn(root, { ...crew, runs: PLANTED_RUNS, shorten_ms: 0 }, each, () => {
          count += 1
          return true
        })
        if (!found) missed += 1
        const what = found
          ? `found after ${count} runs: ${found.story.found[0]?.split('\n')[0]}`
          : `not found in ${count} runs`
        print(`${planted.what}: ${what}`)
      } finally {
        await rm(root, { recursive: true, force: true })
      }
    }
    return missed > 0 ? 1 : 0
  }
  const began_ms = performance.now()
  const minutesPassed = () => (performance.now() - began_ms) / 60_000
  let [count, calls, longest] = [0, 0, 0]
  const crew_runs = minutes > 0 ? Number.MAX_SAFE_INTEGER - seed : runs
  const found = await exploreIn(ROOT, { ...crew, runs: crew_runs, shorten_ms: SHORTEN_MS }, each, (story) => {
    count += 1
    calls += story.calls
    longest = Math.max(longest, story.calls)
    if (more.story) {
      print(`seed ${story.seed}`)
      tell(story.steps)
    }
    return minutes === 0 || minutesPassed() < minutes
  })
  const rate = Math.round(calls / minutesPassed() / 60)
  print(
    `${count} runs from seed ${seed} on in ${minutesPassed().toFixed(1)} minutes, ${calls} calls, the longest ${longest}, ${rate} a second: ${found ? 'something is not as it should be' : 'nothing found'}`,
  )
  if (!found) return 0
  tell(found.shortest.steps)
  for (const line of found.shortest.found) print(line)
  print(
    `seed ${found.story.seed}: ${found.story.steps.length} steps, ${found.shortest.steps.length} in the shortest story`,
  )
  return 1
})
