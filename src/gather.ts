import { UnavailableError } from './errors.ts'

export type Gather<Item, Answer> = {
  /** Adds an item to the next call. Rejects with what the call threw, or with the Error that stands in its place. */
  add(item: Item): Promise<Answer>
  /** Waits until everything added so far is answered. */
  drained(): Promise<void>
}

/**
 * Gathers items that come close together into one call: all that one tick of the event loop brought and, once
 * `max_in_flight` calls are on their way, all that came until one is back, up to `max_batch`. No timers: an idle system
 * adds no latency, a busy one sends larger batches. Full batches may go out beside those, up to `max_full_in_flight` calls: in
 * a flood one turn of the event loop brings more than one batch, and the next turn, which reads the reply, is far away.
 *
 * `run` answers its items in their order; an Error among the answers rejects that item alone. Past `max_waiting` items
 * further ones are refused at once with UnavailableError, so that a stuck server does not fill the memory. So is an item
 * that has waited for `max_wait_ms` when its turn comes: behind a stalled server each call takes its whole time-out, and
 * those at the end of the line would wait for all of them.
 */
export function gather<Item, Answer>(options: {
  run: (items: Item[]) => Promise<Array<Answer | Error>>
  max_batch: number
  max_in_flight: number
  max_full_in_flight?: number
  max_waiting: number
  max_wait_ms?: number
  /** Hears of the size of each call. */
  on_batch?: ((items: number) => void) | undefined
}): Gather<Item, Answer> {
  type Waiting = {
    item: Item
    since_ms: number
    resolve: (answer: Answer) => void
    reject: (error: Error) => void
  }
  const { max_batch, max_in_flight, max_wait_ms = Number.POSITIVE_INFINITY } = options
  const { max_full_in_flight = max_in_flight } = options
  let waiting: Waiting[] = []
  let in_flight = 0
  let scheduled = false
  let on_drained: Array<() => void> = []

  async function send(batch: Waiting[]): Promise<void> {
    in_flight += 1
    options.on_batch?.(batch.length)
    try {
      const answers = await options.run(batch.map(({ item }) => item))
      for (let at = 0; at < batch.length; at += 1) {
        const { resolve, reject } = batch[at] as Waiting
        const answer = answers[at]
        if (answer instanceof Error) reject(answer)
        else if (at < answers.length) resolve(answer as Answer)
        else reject(new Error('a gathered call left an item without an answer'))
      }
    } catch (error) {
      for (const { reject } of batch) reject(error as Error)
    } finally {
      in_flight -= 1
      flush()
    }
  }

  /** First come, first served: whoever waited too long stands in front. */
  function refuseLate(): void {
    const since_ms = performance.now() - max_wait_ms
    const in_time = waiting.findIndex((it) => it.since_ms > since_ms)
    if (in_time === 0) return
    const late = in_time < 0 ? waiting : waiting.slice(0, in_time)
    waiting = in_time < 0 ? [] : waiting.slice(in_time)
    for (const { reject } of late) reject(new UnavailableError('unavailable', 'its turn came too late'))
  }

  const maySend = () =>
    waiting.length >= max_batch
      ? in_flight < Math.max(max_in_flight, max_full_in_flight)
      : waiting.length > 0 && in_flight < max_in_flight

  function flush(): void {
    refuseLate()
    while (maySend()) {
      const batch = waiting.slice(0, max_batch)
      waiting = waiting.slice(max_batch)
      void send(batch)
    }
    if (waiting.length === 0 && in_flight === 0) {
      for (const drained of on_drained) drained()
      on_drained = []
    }
  }

  return {
    add(item) {
      if (waiting.length >= options.max_waiting) {
        return Promise.reject(new UnavailableError('unavailable', 'too many requests are waiting'))
      }
      return new Promise((resolve, reject) => {
        waiting.push({ item, since_ms: performance.now(), resolve, reject })
        if (!maySend()) return
        // A full batch has nothing to wait for, and the turn may be a long one.
        if (waiting.length >= max_batch) flush()
        else if (!scheduled) {
          scheduled = true
          setImmediate(() => {
            scheduled = false
            flush()
          })
        }
      })
    },
    drained() {
      if (waiting.length === 0 && in_flight === 0) return Promise.resolve()
      return new Promise((resolve) => {
        on_drained.push(resolve)
      })
    },
  }
}
