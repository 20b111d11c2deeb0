import cluster from 'node:cluster'
import type { DeskSamples } from '../desk/ring.ts'
import { UnavailableError } from '../errors.ts'
import { asMetrics, type Orders, type ToPrimary, type ToWorker } from './messages.ts'

/** The primary waits a second for the other workers; so a scrape is answered within the 3 s of every request. */
const ANSWER_WAIT_MS = 2_000

/** The worker's end of the channel between it and the primary. */
export function linkToPrimary() {
  const sending = new Set<Promise<void>>()
  const answers = new Map<number, (answer: unknown) => void>()
  let last_id = 0
  let readMetrics: (() => Promise<unknown>) | undefined
  let obey: (orders: Orders) => void = () => {}
  const ordered = new Promise<Orders>((resolve) => {
    obey = resolve
  })

  /** To a primary that is gone there is nothing to say. */
  function send(message: ToPrimary): void {
    if (!process.connected) return
    const sent = new Promise<void>((resolve) => process.send?.(message, () => resolve()))
    sending.add(sent)
    void sent.then(() => sending.delete(sent))
  }

  async function sendMetrics(id: number): Promise<void> {
    const metrics = await readMetrics?.().catch(() => undefined)
    if (metrics) send({ kind: 'metrics', id, metrics: asMetrics(metrics) })
  }

  async function ask(kind: 'metrics_of_all_wanted' | 'samples_wanted'): Promise<unknown> {
    last_id += 1
    const id = last_id
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise((resolve, reject) => {
        answers.set(id, resolve)
        const late = () => reject(new UnavailableError('unavailable', 'the primary does not answer'))
        timer = setTimeout(late, ANSWER_WAIT_MS)
        send({ kind, id })
      })
    } finally {
      clearTimeout(timer)
      answers.delete(id)
    }
  }

  process.on('message', (message: ToWorker) => {
    if (message.kind === 'orders') obey(message)
    else if (message.kind === 'metrics_wanted') void sendMetrics(message.id)
    else answers.get(message.id)?.(message.answer)
  })

  return {
    complain: (line: string) => send({ kind: 'complaint', line }),
    tellListening: (port: number) => send({ kind: 'listening', port }),

    /** Waits until everything said so far is on its way. */
    told: async () => void (await Promise.all(sending)),

    /** Calls once when the primary is gone, however it went. */
    onLost(end: () => void): void {
      cluster.worker?.once('disconnect', () => {
        // Without this word node:cluster ends the process at once, in the middle of its requests.
        if (cluster.worker) cluster.worker.exitedAfterDisconnect = true
        end()
      })
    },

    /** What the primary wants this worker to do. Rejects when the process is to stop before it knows. */
    async orders(stopping: AbortSignal): Promise<Orders> {
      const stopped = new Promise<never>((_resolve, reject) => {
        stopping.addEventListener('abort', () => reject(stopping.reason), { once: true })
      })
      stopping.throwIfAborted()
      // What is said to a process that does not listen yet is lost, so it has to ask.
      send({ kind: 'orders_wanted' })
      return Promise.race([ordered, stopped])
    },

    /** Says how this worker's own metrics are read, once it has some. */
    onMetricsWanted(read: () => Promise<unknown>): void {
      readMetrics = read
    },

    /** The metrics of all workers together. Rejects with UnavailableError when the primary does not answer. */
    readMetricsOfAll: () => ask('metrics_of_all_wanted') as Promise<string>,

    /** The samples that the primary takes of them. Rejects likewise. */
    readSamples: () => ask('samples_wanted') as Promise<DeskSamples>,
  }
}
