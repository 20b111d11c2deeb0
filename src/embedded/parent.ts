/** How often the parent is looked at; a server that lost its npm ends half a second later, which is soon enough. */
const WATCH_EVERY_MS = 500

/**
 * Calls `on_gone` once when the process that started this one is gone: npm killed with SIGKILL passes on no signal, and
 * without this the program would go on in the background. Returns a function that stops watching.
 */
export function watchParent(on_gone: () => void): () => void {
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    on_gone()
  }, WATCH_EVERY_MS)
  return () => clearInterval(timer)
}
