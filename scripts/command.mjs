import { spawn } from 'node:child_process'

/** The signals that end a command, with how long each is given. npm takes no notice of SIGINT. */
const STOP_STEPS = /** @type {const} */ ([
  ['SIGTERM', 2_000],
  ['SIGKILL', 1_000],
])
/** A package manager that still downloads ends at once at SIGINT; one that writes takes a few seconds. */
const SYSTEM_STOP_STEPS = /** @type {const} */ ([
  ['SIGINT', 6_000],
  ['SIGTERM', 1_500],
  ['SIGKILL', 1_000],
])
/** How often it is looked whether the parent, say npm, is gone. */
const WATCH_EVERY_MS = 500
const OUTPUT_WAIT_MS = 500
const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])
/** The reason for a failure stands in the last lines of the output. */
const OUTPUT_KEPT_CHARS = 20_000

/**
 * Runs a command without showing its output, in a process group of its own. A signal to this process, or the end of its
 * parent, ends the command first; then `isStopped` is true. With `isSystem` the signals go to the command alone and not
 * to what it started: apt-get lets dpkg finish, but dpkg hit by a signal leaves a package half installed.
 * @param {string} cwd @param {string[]} command @param {{ isSystem?: boolean }} [options]
 * @returns {Promise<{ isOk: boolean, isStopped: boolean, output: string }>}
 */
export function run(cwd, [program = '', ...args], { isSystem = false } = {}) {
  return new Promise((done) => {
    let output = ''
    let isStopped = false
    /** @type {NodeJS.Timeout | undefined} */
    let next
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output = (output + chunk).slice(-OUTPUT_KEPT_CHARS)
      })
    }
    const send = (/** @type {NodeJS.Signals} */ signal) => {
      try {
        if (child.pid !== undefined) process.kill(isSystem ? child.pid : -child.pid, signal)
      } catch {
        // It is gone already; or it is root's by way of sudo, and will be let finish.
      }
    }
    const stop = (step = 0) => {
      const [signal, patience_ms] = (isSystem ? SYSTEM_STOP_STEPS : STOP_STEPS)[step] ?? []
      if (!signal) return
      send(signal)
      next = setTimeout(() => stop(step + 1), patience_ms)
    }
    const onSignal = () => {
      if (!isStopped) stop()
      isStopped = true
    }
    const parent = process.ppid
    const watch = setInterval(() => process.ppid !== parent && onSignal(), WATCH_EVERY_MS)
    for (const signal of SIGNALS) process.on(signal, onSignal)
    const end = (/** @type {boolean} */ isOk) => {
      clearTimeout(next)
      clearInterval(watch)
      for (const signal of SIGNALS) process.off(signal, onSignal)
      if (isStopped && !isSystem) send('SIGKILL')
      done({ isOk, isStopped, output })
    }
    child.once('error', (error) => {
      output += `\n${error.message}`
      end(false)
    })
    child.once('exit', (code) => {
      clearTimeout(next)
      // What it started in the background may keep its output open for ever.
      next = setTimeout(() => end(code === 0), OUTPUT_WAIT_MS)
    })
    child.once('close', (code) => end(code === 0))
  })
}

/**
 * The line of a failed command's output that says why: the first that npm or apt marks as an error and that is a
 * sentence, else the last line.
 * @param {string} output
 */
export function reason(output) {
  const lines = output.split('\n').filter((line) => line.trim() !== '')
  const errors = lines
    .map((line) => /^(?:npm error|E:|[Ee]rror:) +(?:Error: |network )?(.*)$/.exec(line)?.[1] ?? '')
    .filter((line) => line !== '' && !/^(code|errno|syscall|path|dest) /.test(line))
  return (errors[0] ?? lines.at(-1) ?? 'no reason given').trim().replace(/[.:]$/, '')
}
