/*
  Says what a command is at while it says nothing else: on a terminal in one line that is written over, elsewhere in plain
  lines. On stderr, so that what a command prints can be kept apart. In plain JavaScript and with Node's own modules only,
  since scripts/setup.mjs needs it before anything is installed.
*/

/** Nobody wonders sooner than this. */
const QUIET_MS = 2_000
/** Plain lines stay where they are, so few are enough. */
const PLAIN_EVERY_MS = 10_000
const LOOK_EVERY_MS = 500

const out = process.stderr
const isTerminal = out.isTTY === true && process.env.TERM !== 'dumb'

let quiet_since_ms = 0
let patience_ms = QUIET_MS
let isShown = false

/** Makes room for a line that a command prints itself. */
export function clearProgress() {
  if (isShown) out.write('\r\x1b[K')
  isShown = false
  quiet_since_ms = Date.now()
  patience_ms = isTerminal ? QUIET_MS : PLAIN_EVERY_MS
}

/**
 * Does the work, and says what it is and for how long where it takes long. What the work notes stands beside it.
 * @template Result
 * @param {string} what @param {(note: (detail: string) => void) => Promise<Result>} work @returns {Promise<Result>}
 */
export async function showProgress(what, work) {
  const started_ms = Date.now()
  quiet_since_ms = started_ms
  patience_ms = QUIET_MS
  let detail = ''
  const timer = setInterval(() => {
    const now_ms = Date.now()
    if (now_ms - quiet_since_ms < patience_ms) return
    const seconds = Math.round((now_ms - started_ms) / 1000)
    const line = `holdfast: ${what}${detail && ` (${detail})`}: ${seconds} s`
    if (isTerminal) {
      out.write(`\r${line.slice(0, (out.columns || 80) - 1)}\x1b[K`)
      isShown = true
    } else {
      out.write(`${line}\n`)
      clearProgress()
    }
  }, LOOK_EVERY_MS)
  try {
    return await work((text) => {
      detail = text
    })
  } finally {
    clearInterval(timer)
    clearProgress()
  }
}
