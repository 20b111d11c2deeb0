import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Options, Story } from './explore.ts'
import type { Order, Told } from './worker.ts'

/** A process that says nothing for so long about one run hangs. */
const HANGS_MS = 120_000

async function start(root: string): Promise<ChildProcess> {
  const child = fork(join(root, 'test/explore/worker.ts'), {
    cwd: root,
    execArgv: ['--no-warnings', '--import', join(root, 'test/register.mjs')],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => Promise.reject(new Error('an explorer ended at its start'))),
  ])
  return child
}

/**
 * Explores the project that stands in a folder: seed after seed, several at once, until something is found, or `hear` has heard enough.
 * Returns what was found first.
 */
export async function exploreIn(
  root: string,
  crew: { size: number; seed: number; runs: number; shorten_ms: number; stopping: AbortSignal },
  each: Omit<Options, 'seed' | 'tape'>,
  hear: (story: Story) => boolean,
): Promise<Told | undefined> {
  const { shorten_ms, stopping } = crew
  const end = crew.seed + crew.runs
  let seed = crew.seed
  let found: Told | undefined
  let is_over = false

  async function run(child: ChildProcess, own: number): Promise<Told> {
    child.send({ ...each, seed: own, shorten_ms } satisfies Order)
    const over = new AbortController()
    const limit = AbortSignal.any([stopping, AbortSignal.timeout(HANGS_MS + shorten_ms), over.signal])
    const [told] = (await Promise.race([
      once(child, 'message', { signal: limit }),
      once(child, 'exit', { signal: limit }).then(() => Promise.reject(new Error('an explorer ended'))),
    ])
      .catch((error: Error) => {
        stopping.throwIfAborted()
        throw new Error(`seed ${own}: ${error.message}`)
      })
      .finally(() => over.abort())) as [Told]
    return told
  }
  async function work(): Promise<void> {
    const child = await start(root)
    try {
      while (!is_over && !found && seed < end) {
        const told = await run(child, seed++)
        if (told.story.found.length > 0) found ??= told
        is_over = !hear(told.story)
      }
    } finally {
      if (child.connected) child.disconnect()
      const late = setTimeout(() => child.kill('SIGKILL'), 10_000)
      if (child.exitCode === null) await once(child, 'exit')
      clearTimeout(late)
    }
  }
  await Promise.all(Array.from({ length: crew.size }, work))
  return found
}
