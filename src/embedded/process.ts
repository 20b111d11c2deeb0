import { execFile, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, statSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'

/** Ports are taken from below the range that the system hands to outgoing connections, so that none is in the way. */
const PORT_LOWEST = 20_000
const PORT_COUNT = 12_000
const PORT_TRIES = 50
/** A log that grew past this is begun anew at the next start. */
const LOG_MAX_BYTES = 10 * 1024 * 1024
/** How often a process is looked at while something is awaited from it. */
export const POLL_MS = 15

const exec = promisify(execFile)

/** One process of this machine. `started` tells it from a later process that was given the same pid. */
export type ProcessId = { pid: number; started: string }

/** A step of ending a process: a signal, and how long it may take before the next step. */
export type StopStep = { signal: NodeJS.Signals; patience_ms: number }

/** A server that this process started. `log()` reads what it wrote since; `hasExited()` turns true when it is gone. */
export type Spawned = { id: ProcessId; log(): string; hasExited(): boolean }

/** The process that has this pid now, or undefined when there is none (a zombie is none). */
export async function identify(pid: number): Promise<ProcessId | undefined> {
  if (process.platform !== 'linux') {
    const { stdout } = await exec('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
    }).catch(() => ({ stdout: '' }))
    const [state, ...started] = stdout.trim().split(/\s+/)
    return state && !state.startsWith('Z') ? { pid, started: started.join(' ') } : undefined
  }
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  const [state, ticks] = [fields[0], fields[19]]
  if (!state || !ticks || state === 'Z' || state === 'X') return undefined
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  return { pid, started: `${boot}/${ticks}` }
}

/** Whether that very process still runs. */
export async function isRunning(id: ProcessId): Promise<boolean> {
  return (await identify(id.pid))?.started === id.started
}

/** Whether the process works in this folder: its current directory is the folder itself, by whatever path. */
export async function worksIn(pid: number, folder: string): Promise<boolean> {
  try {
    const path =
      process.platform === 'linux'
        ? `/proc/${pid}/cwd`
        : /^n(.*)$/m.exec((await exec('lsof', ['-a', '-p', String(pid), '-d', 'cwd', '-Fn'])).stdout)?.[1]
    if (path === undefined) return false
    const [theirs, ours] = await Promise.all([stat(path), stat(folder)])
    return theirs.dev === ours.dev && theirs.ino === ours.ino
  } catch {
    return false
  }
}

/**
 * Ends a process step by step until it is gone. Each signal is sent only to that very process, never to another one
 * that got its pid. Resolves when it is gone, or when the last step's time is up.
 */
export async function stopProcess(id: ProcessId, steps: StopStep[]): Promise<void> {
  for (const { signal, patience_ms } of steps) {
    if (!(await isRunning(id))) return
    try {
      process.kill(id.pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return
      throw error
    }
    const until_ms = Date.now() + patience_ms
    while (Date.now() < until_ms && (await isRunning(id))) await wait(POLL_MS)
  }
}

/**
 * Starts a server in a session of its own, so that the terminal's Ctrl-C does not reach it before its owner is done.
 * Its output is appended to `log_path`. Rejects when the program cannot be run.
 */
export async function spawnServer(options: {
  command: string
  args: string[]
  cwd: string
  log_path: string
  env?: Record<string, string>
  uid?: number | undefined
  gid?: number | undefined
}): Promise<Spawned> {
  const { command, args, cwd, log_path, uid, gid } = options
  const log = openLog(log_path)
  try {
    const child = spawn(command, args, {
      cwd,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: { PATH: process.env.PATH, LC_ALL: 'C', ...options.env },
      ...(uid === undefined ? {} : { uid, gid }),
    })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    const pid = child.pid ?? 0
    const id = (await identify(pid)) ?? { pid, started: 'gone' }
    return {
      id,
      log: () => readFileSync(log_path).subarray(log.size_bytes).toString('utf8'),
      hasExited: () => child.exitCode !== null || child.signalCode !== null,
    }
  } finally {
    closeSync(log.fd)
  }
}

function openLog(path: string): { fd: number; size_bytes: number } {
  const size_bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size_bytes > LOG_MAX_BYTES) return { fd: openSync(path, 'w', 0o600), size_bytes: 0 }
  return { fd: openSync(path, 'a', 0o600), size_bytes }
}

/** A loopback port that is free now: the wanted one if it is. Throws when none was found. */
export async function freePort(wanted?: number): Promise<number> {
  if (wanted !== undefined && (await isFree(wanted))) return wanted
  for (let i = 0; i < PORT_TRIES; i++) {
    const port = PORT_LOWEST + Math.floor(Math.random() * PORT_COUNT)
    if (await isFree(port)) return port
  }
  throw new Error('no free port found on 127.0.0.1')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
