import cluster, { type Worker } from 'node:cluster'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Counter, Gauge, Registry } from 'prom-client'
import { MAX_CONNECTIONS } from '../db/client.ts'
import { createRing } from '../desk/ring.ts'
import { StartError } from '../errors.ts'
import { asMetrics, type Orders, type ToPrimary, type ToWorker } from './messages.ts'
import { createSum } from './sum.ts'

/** One sweeps on while the other is started again; more would only ask Redis the same once more. */
const SWEEPING_WORKERS = 2
/** A worker that ends sooner than this counts as one that can not start. */
const STEADY_MS = 10_000
const RESTART_MIN_MS = 250
const RESTART_MAX_MS = 30_000
/** By then a worker has drained; the embedded servers need the rest of the 10 s in which all must end. */
const STOP_LIMIT_MS = 6_000
/** The connections to PostgreSQL that all workers have together, unless each would have less than two. */
const CONNECTIONS_OF_ALL = 64
const CONNECTIONS_MIN = 2

const root = join(import.meta.dirname, '..', '..')

/** How many connections to PostgreSQL each of so many workers may have; while it rebuilds a shard it has two more. */
export function connectionsOfEach(count: number): number {
  return Math.min(MAX_CONNECTIONS, Math.max(CONNECTIONS_MIN, Math.floor(CONNECTIONS_OF_ALL / count)))
}

/** How often a worker of this place ended soon after its start, and how long the next one waits for that. */
const restartAfterMs = (early: number) =>
  early === 0 ? 0 : Math.min(RESTART_MAX_MS, RESTART_MIN_MS * 2 ** (early - 1))

export type Workers = {
  /** The port, once all workers listen. Rejects with StartError when one of them can not start. */
  listening: Promise<number>
  /** Lets all workers drain and end, within 6 s. For when `stopping` is aborted. */
  stop(): Promise<void>
}

/** Starts `count` workers that serve the API on one port, and another one whenever one of them ends. */
export function startWorkers(
  options: Omit<Orders, 'max_connections'> & {
    count: number
    /** When it aborts, no more workers are started. */
    stopping: AbortSignal
    say: (line: string) => void
  },
): Workers {
  const { count, redis_url, database_url, stopping, say } = options
  const max_connections = connectionsOfEach(count)
  const alive = new Set<Worker>()
  const serving = new Set<Worker>()
  const sum = createSum(tell)
  const own = new Registry()
  const registers = [own]
  const restarts = new Counter({
    name: 'holdfast_worker_restarts_total',
    help: 'Workers that were started in the place of one that ended',
    registers,
  })
  new Gauge({
    name: 'holdfast_workers',
    help: 'Processes that serve the API',
    registers,
    collect() {
      this.set(serving.size)
    },
  })
  // For port 0 all workers get one port, as long as any of them has it; once nobody does, it is asked for by its number.
  let asked_port = options.port
  let port: number | undefined
  let is_started = false
  let began: (port: number) => void = () => {}
  let failed: (reason: unknown) => void = () => {}
  const listening = new Promise<number>((resolve, reject) => {
    began = resolve
    failed = reject
  })
  stopping.addEventListener('abort', () => failed(stopping.reason), { once: true })

  // Workers run on what this process runs on, whether it is started by itself or from scripts/setup.mjs.
  cluster.setupPrimary({
    exec: join(root, 'src', 'bin', 'worker.ts'),
    execArgv: [...process.execArgv, '--import', import.meta.resolve('tsx')],
    args: [],
  })

  /** A worker that has ended, or is about to, hears nothing; its end is heard of anyway. */
  function tell(worker: Worker, message: ToWorker): void {
    if (worker.isConnected()) worker.send(message, () => {})
  }

  function isListening(worker: Worker, at: number, asked: number): void {
    if (port !== undefined && at !== port) {
      worker.process.kill('SIGKILL')
      return
    }
    port = at
    asked_port = asked
    serving.add(worker)
    if (serving.size < count || is_started) return
    is_started = true
    ring.start()
    began(port)
  }

  const readMetrics = async () => sum.read([...serving], asMetrics(await own.getMetricsAsJSON()))
  const ring = createRing(async () => asMetrics(await (await readMetrics()).getMetricsAsJSON()))

  async function sendMetrics(worker: Worker, id: number): Promise<void> {
    tell(worker, { kind: 'metrics_of_all', id, answer: await (await readMetrics()).metrics() })
  }

  async function sendSamples(worker: Worker, id: number): Promise<void> {
    tell(worker, { kind: 'samples', id, answer: await ring.read() })
  }

  /** Runs one worker from its start to its end; returns how it ended. */
  async function run(place: number): Promise<string> {
    const asked = asked_port
    const sweeps = options.sweeps && place < SWEEPING_WORKERS
    const orders: Orders = { redis_url, database_url, port: asked, sweeps, max_connections }
    const worker = cluster.fork({ TSX_TSCONFIG_PATH: join(root, 'tsconfig.json') })
    let complaint: string | undefined
    alive.add(worker)
    worker.on('message', (message: ToPrimary) => {
      if (message.kind === 'orders_wanted') tell(worker, { kind: 'orders', ...orders })
      else if (message.kind === 'listening') isListening(worker, message.port, asked)
      else if (message.kind === 'metrics') sum.answered(message.id, message.metrics)
      else if (message.kind === 'metrics_of_all_wanted') void sendMetrics(worker, message.id)
      else if (message.kind === 'samples_wanted') void sendSamples(worker, message.id)
      else {
        complaint = message.line
        if (stopping.aborted) say(`worker ${worker.process.pid}: ${complaint}`)
      }
    })
    const [code, signal] = await new Promise<[code: number | null, signal: string | null]>((resolve) => {
      worker.on('exit', (code, signal) => resolve([code, signal]))
      worker.on('error', () => {
        // One that could not even be started never exits.
        if (worker.process.pid === undefined) resolve([null, null])
      })
    })
    alive.delete(worker)
    serving.delete(worker)
    sum.hasEnded(worker)
    if (serving.size === 0) asked_port = port ?? options.port
    if (!is_started) {
      failed(
        new StartError(complaint ?? `a worker ended before all were ready (${signal ?? code}): start again`),
      )
    }
    return `worker ${worker.process.pid} ended (${complaint ?? signal ?? code})`
  }

  /** Sees to it that there is a worker in this place until the process stops, or the start has failed. */
  async function keep(place: number): Promise<void> {
    let early = 0
    for (;;) {
      const started_ms = performance.now()
      const how = await run(place)
      if (stopping.aborted || !is_started) return
      early = performance.now() - started_ms < STEADY_MS ? early + 1 : 0
      const after_ms = restartAfterMs(early)
      say(`${how}: the next one is started ${after_ms === 0 ? 'at once' : `in ${after_ms / 1000} s`}`)
      await wait(after_ms, undefined, { signal: stopping }).catch(() => {})
      if (stopping.aborted) return
      restarts.inc()
    }
  }

  const kept = Promise.all(Array.from({ length: count }, (_, place) => keep(place)))
  return {
    listening,
    async stop(): Promise<void> {
      for (const worker of alive) worker.process.kill('SIGTERM')
      const limit = setTimeout(() => {
        say(`${alive.size} ${alive.size === 1 ? 'worker' : 'workers'} did not drain in time`)
        for (const worker of alive) worker.process.kill('SIGKILL')
      }, STOP_LIMIT_MS)
      await kept
      clearTimeout(limit)
      await ring.stop()
    },
  }
}
