import { runCommand, say } from '../src/bin/lifecycle.ts'
import { showProgress } from '../src/progress.mjs'
import type { Sample } from './figures.ts'
import { openGround } from './ground.ts'
import { HELP, type Options, readOptions } from './options.ts'
import { readMachine } from './report/machine.ts'
import { printReport, writeReports } from './report/report.ts'
import { cliff } from './scenarios/cliff.ts'
import { type ClusterGround, cluster, openClusterGround } from './scenarios/cluster.ts'
import type { Context } from './scenarios/context.ts'
import { memory } from './scenarios/memory.ts'
import { openLoop, overload } from './scenarios/open-loop.ts'
import { rotate, serversOf } from './scenarios/rotation.ts'
import { wave } from './scenarios/wave.ts'
import { openStage } from './stage.ts'

/** More than SKIP LOCKED takes in a second on any machine; they are made anew for each number of connections. */
const UNIT_ROWS_PER_SECOND = 8_000

/** Everything has its turn in each round, so that what changes on the machine meanwhile meets all alike. */
async function measure(
  context: Context,
  cluster_ground: ClusterGround | undefined,
  note: (detail: string) => void,
): Promise<void> {
  const { options } = context
  const has = (scenario: string) => options.scenarios.includes(scenario)
  for (let round = 1; round <= options.rounds; round += 1) {
    note(`round ${round} of ${options.rounds}`)
    await rotate(context, round)
    if (has('open-loop')) await openLoop(context, round)
    if (has('overload')) await overload(context, round)
    if (has('cliff') && round <= options.cliff_rounds) await cliff(context, round)
    if (has('wave') && round <= options.cliff_rounds) await wave(context, round)
    if (has('memory') && round <= options.memory_rounds) await memory(context, round)
    if (cluster_ground && round <= options.cluster_rounds) await cluster(context, cluster_ground, round)
  }
}

/** What the rows of the baseline with a row a unit have to last for. */
const unitRows = ({ seconds, warm_up_seconds }: Options) =>
  Math.ceil((seconds + warm_up_seconds) * UNIT_ROWS_PER_SECOND)

runCommand({ is_service: false }, async (life) => {
  const options = readOptions(process.argv.slice(2))
  if (!options) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const started_ms = Date.now()
  say('starting Redis, PostgreSQL, the service and its baselines')
  const { stage, ground, cluster_ground } = await showProgress('starting', async () => {
    const stage = await openStage(life, serversOf(options.scenarios), say)
    const ground = await openGround(stage, unitRows(options))
    await ground.reset()
    const has_cluster = options.scenarios.includes('cluster')
    return { stage, ground, cluster_ground: has_cluster ? await openClusterGround(stage, life) : undefined }
  })
  const samples: Sample[] = []
  const context = { stage, ground, options, samples, say }
  await showProgress('measuring', (note) => measure(context, cluster_ground, note))
  const { shard, more } = await showProgress('comparing Redis with PostgreSQL', async () => ({
    shard: await ground.check(),
    more: (await cluster_ground?.check()) ?? [],
  }))
  const { checks, failures } = ground.books()
  const books = { checks, failures: [...failures, ...more] }
  const machine = await readMachine(stage)
  const minutes = (Date.now() - started_ms) / 60_000
  const report = { options, samples, shard, books, machine, minutes }
  printReport(report)
  for (const path of await writeReports(report)) say(`wrote ${path}`)
  return books.failures.length === 0 ? 0 : 1
})
