import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Life } from '../src/bin/lifecycle.ts'
import { StartError } from '../src/errors.ts'
import type { Job, LoadResult, WorkerReply } from './load/jobs.ts'

const PATH_OF = (path: string) => fileURLToPath(new URL(path, import.meta.url))
/** As `npm start` has them. */
const NODE_OPTIONS = ['--max-semi-space-size=64', '--import', 'tsx']
/** A server has this long to end after SIGTERM before it is killed. */
const STOP_WAIT_MS = 5_000
const LOG_TAIL_CHARS = 600

export type Child = {
  pid: number
  process: ChildProcess
  /** What it wrote last. */
  log(): string
  stop(): Promise<void>
}

/**
 * Starts a program of this project as a process of its own, with a channel for messages. It ends with this process: the
 * programs of the bench when the channel closes, those of the service because they watch their parent.
 */
export function startChild(
  path: string,
  options: { env: Record<string, string>; args?: string[]; log_path: string },
): Child {
  const { env, args = [], log_path } = options
  const log = openSync(log_path, 'a', 0o600)
  const { PATH, HOME, TMPDIR } = process.env
  const inherited = Object.entries({ PATH, HOME, TMPDIR }).filter(([, value]) => value !== undefined)
  const child = fork(PATH_OF(path), args, {
    execArgv: NODE_OPTIONS,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', log, log, 'ipc'],
  })
  closeSync(log)
  const exited = once(child, 'exit')
  return {
    pid: child.pid ?? 0,
    process: child,
    log: () => readFileSync(log_path, 'utf8').slice(-LOG_TAIL_CHARS).trim(),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      const limit = setTimeout(() => child.kill('SIGKILL'), STOP_WAIT_MS)
      await exited
      clearTimeout(limit)
    },
  }
}

/** The next message of a child. Throws StartError, with what it wrote last, when it ends instead. */
export async function nextMessage<Message>(
  child: Child,
  what: string,
  signal: AbortSignal,
): Promise<Message> {
  const done = new AbortController()
  const options = { signal: AbortSignal.any([signal, done.signal]) }
  const exit = once(child.process, 'exit', options).then(() => {
    throw new StartError(`${what} ended by itself: ${child.log()}`)
  })
  // Whichever of the two is not awaited any more is given up, and nobody is to hear of that.
  exit.catch(() => {})
  try {
    const [message] = (await Promise.race([once(child.process, 'message', options), exit])) as [Message]
    return message
  } finally {
    done.abort()
  }
}

/** Starts a baseline. Resolves with its URL when it listens; `life` ends it in any case. */
export async function startBaseline(
  name: string,
  life: Life,
  options: { env: Record<string, string>; args: string[]; log_path: string },
): Promise<Child & { url: string }> {
  const child = startChild(`./baselines/${name}.ts`, options)
  life.onStop(() => child.stop())
  const { port } = await nextMessage<{ port: number }>(child, `the baseline ${name}`, life.stopping)
  return { ...child, url: `http://127.0.0.1:${port}` }
}

export type Generator = { pid: number; run(job: Job): Promise<LoadResult>; stop(): Promise<void> }

/** Starts the load generator. Its jobs come one after the other. */
export function startGenerator(log_path: string, stopping: AbortSignal): Generator {
  const child = startChild('./load/worker.ts', { env: {}, log_path })
  return {
    pid: child.pid,
    stop: child.stop,
    async run(job) {
      child.process.send(job)
      const reply = await nextMessage<WorkerReply>(child, 'the load generator', stopping)
      if ('error' in reply) throw new Error(`the load generator: ${reply.error}`)
      return reply.result
    },
  }
}
