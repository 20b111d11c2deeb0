import { watchParent } from '../embedded/parent.ts'
import { StartError } from '../errors.ts'
import { hideSecrets, secretsOf } from '../log.ts'
import { clearProgress } from '../progress.mjs'

/** Everything has ended by then; the promise is 10 s from the signal to the end of the process. */
const STOP_LIMIT_MS = 9_500
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export type Life = {
  /** Runs when the process stops, or when its start fails; the latest first. */
  onStop(cleanup: () => Promise<void>): void
  /** Aborted when the process is to stop: a start that is under way gives up. */
  stopping: AbortSignal
}

/** What a worker has in the place of a terminal. */
export type Link = {
  /** Tells the primary why this process ends, in one line. */
  complain(line: string): void
  /** Calls when the primary is gone. */
  onLost(end: () => void): void
}

/** Prints a line about what the command does. */
export function say(line: string): void {
  clearProgress()
  process.stdout.write(`holdfast: ${line}\n`)
}

function sayError(line: string): void {
  clearProgress()
  process.stderr.write(`holdfast: ${line}\n`)
}

/** What went wrong, in a line that anybody may read. */
function explain(error: unknown): string {
  return hideSecrets(explainWhole(error), secretsOf(process.env))
}

function explainWhole(error: unknown): string {
  if (error instanceof StartError) return error.message
  return `unexpected error: ${(error as Error)?.stack?.split('\n').slice(0, 2).join(' ') ?? error}`
}

/**
 * Runs a command: `start` until it is done, then, where `is_service` says so, until a signal comes or npm is gone. What
 * was begun is ended in reverse order, also when the start fails half-way. Further signals change nothing: npm passes on
 * a Ctrl-C that the terminal has sent already. Exit code 0, or what `start` resolves with; 1 after an error, in one line.
 * A worker, which has a `link`, leaves the terminal's signals to its primary.
 */
export function runCommand(
  options: { is_service: boolean; link?: Link },
  start: (life: Life) => Promise<number | undefined>,
): void {
  const { is_service, link } = options
  const complain = link?.complain ?? sayError
  const cleanups: Array<() => Promise<void>> = []
  const stopping = new AbortController()
  let ending = false
  let exit_code = 0

  async function end(started: Promise<unknown>): Promise<void> {
    if (ending) return
    ending = true
    stopping.abort()
    const limit = setTimeout(() => {
      complain('could not stop in time')
      process.exit(1)
    }, STOP_LIMIT_MS)
    await started
    for (const cleanup of cleanups.reverse()) {
      await cleanup().catch((error) => complain(explain(error)))
    }
    clearTimeout(limit)
    process.exit(exit_code)
  }

  function fail(error: unknown): void {
    if (stopping.signal.aborted && exit_code === 0) return
    exit_code = 1
    complain(explain(error))
  }

  const life = { onStop: (cleanup: () => Promise<void>) => cleanups.push(cleanup), stopping: stopping.signal }
  // A tick later, so that a signal which comes while the start keeps the process busy is heard.
  const started: Promise<void> = Promise.resolve()
    .then(() => start(life))
    .then((code) => {
      exit_code = code ?? 0
      if (!is_service) void end(Promise.resolve())
    }, fail)
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      if (!link || signal === 'SIGTERM') void end(started)
    })
  }
  process.on('uncaughtException', (error) => {
    fail(error)
    void end(started)
  })
  if (link) link.onLost(() => void end(started))
  else if (process.env.npm_lifecycle_event) watchParent(() => void end(started))
  void started.then(() => {
    if (exit_code !== 0) void end(Promise.resolve())
  })
}
