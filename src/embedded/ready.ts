import { setTimeout as wait } from 'node:timers/promises'
import { StartError } from '../errors.ts'
import { POLL_MS, type Spawned } from './process.ts'

/** A large AOF or a crash recovery may take long; an empty start takes 50 to 300 ms. */
const READY_WAIT_MS = 60_000

/**
 * Waits until `ask` resolves. Throws StartError, with the last telling line of the server's log, when the server ends
 * first or does not answer in time; gives up with its reason when `stopping` aborts.
 */
export async function waitUntilReady<T>(
  name: string,
  server: Spawned,
  stopping: AbortSignal | undefined,
  ask: () => Promise<T>,
): Promise<T> {
  const until_ms = Date.now() + READY_WAIT_MS
  for (;;) {
    if (server.hasExited()) throw new StartError(`${name} did not start: ${lastWord(server.log())}`)
    try {
      return await ask()
    } catch (error) {
      if (error instanceof StartError) throw error
      if (Date.now() > until_ms) throw new StartError(`${name} does not answer: ${(error as Error).message}`)
    }
    stopping?.throwIfAborted()
    await wait(POLL_MS)
  }
}

/** The line of a server's log that says why it ended: the last FATAL or PANIC of PostgreSQL, else the last line at all. */
export function lastWord(log: string): string {
  const lines = log.split('\n').filter((line) => line.trim() !== '')
  const line = lines.findLast((line) => /\b(FATAL|PANIC):/.test(line)) ?? lines.at(-1) ?? 'it wrote no log'
  return line
    .replace(/^.*?(?=\b(FATAL|PANIC):)/, '')
    .replace(/^\d+:\w+ .{20,26}? [.\-*#] /, '')
    .trim()
}
