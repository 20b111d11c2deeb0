import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runCommand, say } from '../../src/bin/lifecycle.ts'
import { migrateDb } from '../../src/db/migrate.ts'
import { openServers } from '../../src/embedded/servers.ts'
import { StartError } from '../../src/errors.ts'
import { explore } from './explore.ts'
import { openWorld } from './world.ts'

const HELP = `npm run explore -- [options]

Runs complete services in one process, on a Redis and a PostgreSQL of its own, and holds back each of their calls to either: a seed decides
which goes on next, when time passes, and what fails. Buyers hold, order, pay and cancel meanwhile. Whatever they were told must be true in
the end, and every unit must be where it belongs. Ends at the first run in which something is not, with its story. Exit code 1 then.

Options
  --seed N      the first seed (1); the same seed is the same run
  --runs N      how many runs (200), each with the next seed
  --minutes N   or for how long
  --services N  at the same time (2)
  --buyers N    in a run (3)
  --faults N    at most in a run (4): a lost call or reply, a broken connection, a killed process, an empty Redis
  --story       tells each run, not only the one that failed
  --help        this text`

const NUMBERS = { seed: 1, runs: 200, minutes: 0, services: 2, buyers: 3, faults: 4 }

function readOptions(argv: string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const names = Object.keys(NUMBERS) as Array<keyof typeof NUMBERS>
  const options = { ...Object.fromEntries(names.map((name) => [name, text])), story: flag, help: flag }
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
  return {
    ...(Object.fromEntries(numbers) as typeof NUMBERS),
    story: values.story === true,
    help: values.help === true,
  }
}

runCommand({ is_service: false }, async (life) => {
  const { seed: first, runs, minutes, story: is_told, help, ...each } = readOptions(process.argv.slice(2))
  if (help) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-explore-'))
  life.onStop(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  const servers = await openServers({ data_dir: join(folder, 'data'), say, stopping: life.stopping })
  life.onStop(() => servers.close())
  await migrateDb(servers.database_url)
  const world = await openWorld({ ...servers, shards: 1 })
  life.onStop(() => world.close())
  const { hrtime } = process
  const seconds = (since: bigint) => Number(hrtime.bigint() - since) / 1e9
  const began = hrtime.bigint()
  let calls = 0
  let longest = 0
  let seed = first
  for (; minutes > 0 ? seconds(began) < 60 * minutes : seed < first + runs; seed += 1) {
    life.stopping.throwIfAborted()
    const story = await explore(world, { seed, ...each })
    calls += story.calls
    longest = Math.max(longest, story.calls)
    if (is_told || story.found.length > 0)
      for (const [at, step] of story.steps.entries()) process.stdout.write(`${at + 1}. ${step}\n`)
    if (story.found.length === 0) continue
    for (const line of story.found) process.stdout.write(`${line}\n`)
    process.stdout.write(`seed ${seed}: after ${seed - first + 1} runs something is not as it should be\n`)
    return 1
  }
  const rate = Math.round(calls / seconds(began))
  process.stdout.write(
    `${seed - first} runs from seed ${first} on, ${calls} calls, the longest ${longest}, ${rate} a second: nothing found\n`,
  )
  return 0
})
