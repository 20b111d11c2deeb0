import { AsyncResource } from 'node:async_hooks'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import pg from 'pg'
import { inNobodysName } from './scheduler.ts'

/*
  Sessions of PostgreSQL that outlive the connections they were opened for: to begin one takes longer than most runs have for all of theirs.
  Whoever gets one that somebody had before finds nothing of his in it.
*/

const RESET = `rollback; close all; set session authorization default; reset all; deallocate all; unlisten *;
  select pg_advisory_unlock_all(); discard sequences; discard temp`
const TERMINATE = Buffer.from('X\0\0\0\x04', 'latin1')

/** What a server says to who may come in: that he may, which session he has, and that it is idle. */
function welcome(pid: number): Buffer {
  const key = Buffer.from('K\0\0\0\x0cpid_key_', 'latin1')
  key.writeUInt32BE(pid, 5)
  const [allowed, idle] = ['R\0\0\0\x08\0\0\0\0', 'Z\0\0\0\x05I']
  return Buffer.concat([Buffer.from(allowed, 'latin1'), key, Buffer.from(idle, 'latin1')])
}

type Backend = { pid: number; socket: Socket; begins: string }

/** The stream of a connection to PostgreSQL, as pg wants it. */
export class BorrowedStream extends Duplex {
  #backend: Backend | undefined
  #hear = (_chunk: Buffer) => {}
  readonly #pool: ReturnType<typeof createBackends>
  readonly #lost: () => void

  constructor(pool: ReturnType<typeof createBackends>) {
    super()
    this.#pool = pool
    this.#lost = AsyncResource.bind(() => void this.destroy())
  }

  connect(): void {
    process.nextTick(() => this.emit('connect'))
  }

  setNoDelay(): void {}
  setKeepAlive(): void {}
  ref(): void {}
  unref(): void {}

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const backend = this.#backend
    if (!backend) void this.#begin(chunk.toString('latin1')).then(() => done(), done)
    else {
      if (!chunk.equals(TERMINATE)) backend.socket.write(chunk)
      done()
    }
  }

  async #begin(says: string): Promise<void> {
    const backend = await this.#pool.lend(says)
    if (this.destroyed) return this.#pool.drop(backend)
    this.#backend = backend
    this.#hear = AsyncResource.bind((data: Buffer) => void this.push(data))
    backend.socket.on('data', this.#hear).once('close', this.#lost)
    this.push(welcome(backend.pid))
  }

  override _writev(
    chunks: Array<{ chunk: Buffer; encoding: string }>,
    done: (error?: Error | null) => void,
  ): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), '', done)
  }

  #return(): Backend | undefined {
    const backend = this.#backend
    this.#backend = undefined
    backend?.socket.off('data', this.#hear).off('close', this.#lost)
    return backend
  }

  override _final(done: (error?: Error | null) => void): void {
    const backend = this.#return()
    void Promise.resolve(backend && this.#pool.takeBack(backend)).then(() => {
      this.push(null)
      done()
    })
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const backend = this.#return()
    void Promise.resolve(backend && this.#pool.drop(backend)).then(() => done(error))
  }
}

/** Sessions of the database. `end` ends the one with this process, and waits until it is gone: it may wait for a lock, and notices nothing then. */
export function createBackends(database_url: string, end: (pid: number) => Promise<void>) {
  const idle = new Map<string, Backend[]>()

  /** A new session, which begins as somebody says. */
  async function begin(begins: string): Promise<Backend> {
    const named = /application_name\0([^\0]*)/.exec(begins)?.[1]
    const client = new pg.Client({
      connectionString: database_url,
      ...(named && { application_name: named }),
    })
    client.on('error', () => {})
    await client.connect()
    const { connection, processID } = client as unknown as {
      connection: { stream: Socket }
      processID: number
    }
    const socket = connection.stream
    socket.removeAllListeners('data').removeAllListeners('close')
    socket.on('error', () => {})
    return { pid: processID, socket, begins }
  }

  /** Waits for the answer to what was just sent. Tells whether nothing went wrong. */
  function answered(socket: Socket): Promise<boolean> {
    return new Promise((resolve) => {
      let text = Buffer.alloc(0)
      let is_fine = true
      function answer(is_well: boolean): void {
        socket.off('data', hear).off('close', close)
        resolve(is_well)
      }
      const close = () => answer(false)
      function hear(chunk: Buffer): void {
        text = Buffer.concat([text, chunk])
        while (text.length >= 5 && text.length > text.readUInt32BE(1)) {
          const kind = String.fromCharCode(text[0] as number)
          if (kind === 'E') is_fine = false
          if (kind === 'Z') answer(is_fine)
          text = text.subarray(1 + text.readUInt32BE(1))
        }
      }
      socket.on('data', hear).on('close', close)
    })
  }

  return {
    async lend(begins: string): Promise<Backend> {
      const some = idle.get(begins) ?? []
      for (let backend = some.pop(); backend; backend = some.pop()) {
        if (!backend.socket.destroyed) return backend
      }
      return inNobodysName(() => begin(begins))
    },

    async takeBack(backend: Backend): Promise<void> {
      const { socket, begins } = backend
      const text = Buffer.from(`${RESET}\0`)
      const head = Buffer.from('Q\0\0\0\0', 'latin1')
      head.writeUInt32BE(4 + text.length, 1)
      socket.write(Buffer.concat([head, text]))
      if (await answered(socket)) idle.set(begins, [...(idle.get(begins) ?? []), backend])
      else socket.destroy()
    },

    /** Ends a session as one whose client is gone. */
    async drop({ socket, pid }: Backend): Promise<void> {
      socket.destroy()
      await inNobodysName(() => end(pid))
    },

    close(): void {
      for (const { socket } of [...idle.values()].flat()) socket.destroy()
    },
  }
}
