import type { Observer } from '../metrics/observer.ts'

/** A sweep comes four times a second; a line for each would bury what else the log says. */
const REPORT_EVERY_MS = 10_000

/** What a line of the log offers here: the numbers, then the words. */
export type Tell = (numbers: object, message: string) => void

/** Adds up what the sweeps have ended, and says it in one line now and then; nothing where nothing has ended. */
export function createAccount(tell: Tell | undefined, observer: Observer | undefined) {
  let since_ms = performance.now()
  const none = () => ({ holds: 0, orders: 0, latest_ms: 0 })
  let ended = none()

  return {
    note(kind: 'hold' | 'order', count: number, late_ms: number): void {
      observer?.expired(kind, count, late_ms)
      if (kind === 'hold') ended.holds += count
      else ended.orders += count
      ended.latest_ms = Math.max(ended.latest_ms, late_ms)
    },
    /** Says what has ended since it was last said; `is_last` at the stop, else when it is time. */
    report(is_last: boolean): void {
      if (!is_last && performance.now() - since_ms < REPORT_EVERY_MS) return
      since_ms = performance.now()
      if (ended.holds + ended.orders === 0) return
      tell?.(ended, `swept: ${ended.holds} dead holds ended, ${ended.orders} unpaid orders cancelled`)
      ended = none()
    },
  }
}
