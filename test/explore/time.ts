import { AsyncResource } from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'
import { mock } from 'node:test'

/*
  The time of all processes under exploration: it stands still until somebody lets some of it pass.
*/

export type Clock = ReturnType<typeof openClock>

export function openClock() {
  const start_ms = Date.now()
  const { now } = performance
  const { setTimeout: real_after, setInterval: real_every } = globalThis

  function close(): void {
    Object.assign(globalThis, { setTimeout: real_after, setInterval: real_every })
    mock.timers.reset()
    performance.now = now
    syncBuiltinESMExports()
  }

  return {
    now_ms: () => Date.now(),

    /** Begins anew: the same moment, and no timer of anybody who is no more. */
    begin(): void {
      close()
      mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: start_ms })
      const { setTimeout: after, setInterval: every } = globalThis
      // What a timer does, it does in the name of whoever set it.
      const bound =
        (set: typeof after | typeof every) =>
        (hear: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) =>
          set(AsyncResource.bind(hear), Math.max(1, ms || 0), ...args)
      Object.assign(globalThis, { setTimeout: bound(after), setInterval: bound(every) })
      performance.now = () => Date.now() - start_ms
      // Who has imported them by name gets them too.
      syncBuiltinESMExports()
    },

    /** Lets time pass: whatever was to happen meanwhile begins to, in its order. */
    pass: (ms: number) => mock.timers.tick(ms),
    close,
  }
}
