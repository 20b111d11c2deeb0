import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Draw } from '../random.ts'

/** A phase is longer than a transaction, and a sale of two seconds has several of them. */
const PHASE_MIN_MS = 200
const PHASE_MAX_MS = 600
const SLOW_SHARE = 1 / 3

/** By how much a reply may be late. */
export type Slowness = { min_ms: number; max_ms: number }
export type Detour = Awaited<ReturnType<typeof openDetour>>

/** Passes bytes on to a socket in their order, each after its delay at the earliest. The end comes behind all of them. */
function holdBack(socket: Socket) {
  const waiting: Array<{ due_ms: number; data: Buffer | undefined }> = []
  let timer: NodeJS.Timeout | undefined

  function letGo(): void {
    timer = undefined
    for (let next = waiting[0]; next; next = waiting[0]) {
      const left_ms = next.due_ms - performance.now()
      if (left_ms > 0) {
        timer = setTimeout(letGo, Math.ceil(left_ms))
        return
      }
      waiting.shift()
      if (next.data) socket.write(next.data)
      else socket.end()
    }
  }

  return {
    push(data: Buffer | undefined, delay_ms: number): void {
      const due_ms = Math.max(waiting.at(-1)?.due_ms ?? 0, performance.now() + delay_ms)
      waiting.push({ due_ms, data })
      if (!timer) letGo()
    },
    drop(): void {
      clearTimeout(timer)
      waiting.length = 0
    },
  }
}

/**
 * A way to Redis or PostgreSQL for one process that can hold replies back: each connection by itself, in phases, a third of the time.
 * Requests pass at once. It is straight until `slow` is called.
 */
export async function openDetour(options: { port: number; slowness: Slowness }) {
  const { port, slowness } = options
  const sockets = new Set<Socket>()
  let draw: Draw | undefined

  /** Draws by how much the next reply of one connection is late, in ms. */
  function createPhases(): () => number {
    let until_ms = 0
    let is_slow = false
    return () => {
      if (!draw) return 0
      if (performance.now() >= until_ms) {
        is_slow = draw() < SLOW_SHARE
        until_ms = performance.now() + PHASE_MIN_MS + draw() * (PHASE_MAX_MS - PHASE_MIN_MS)
      }
      return is_slow ? slowness.min_ms + draw() * (slowness.max_ms - slowness.min_ms) : 0
    }
  }

  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    const replies = holdBack(near)
    const lateMs = createPhases()
    near.on('data', (data) => far.write(data))
    far.on('data', (data) => replies.push(data, lateMs()))
    near.on('close', () => {
      replies.drop()
      far.destroy()
    })
    far.on('close', () => replies.push(undefined, 0))
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      // What has gone wrong with one side ends the other, which hears of it by 'close'.
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    port: (server.address() as AddressInfo).port,
    /** From now on replies are late as this draws. */
    slow(by: Draw): void {
      draw = by
    },
    /** From now on new replies pass at once, behind those that are still held back. */
    straight(): void {
      draw = undefined
    },
    async close(): Promise<void> {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
