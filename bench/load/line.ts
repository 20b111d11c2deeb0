import { connect, type Socket } from 'node:net'
import type { HttpRequest } from './jobs.ts'

const HEAD_END = '\r\n\r\n'
/** `HTTP/1.1 201 Created` */
const STATUS_AT = 9

/** The bytes of a request on a connection that stays open. */
export function requestBytes({ method, path, body, headers }: HttpRequest, host: string): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, 'Connection: keep-alive']
  for (const [name, value] of Object.entries(headers ?? {})) lines.push(`${name}: ${value}`)
  if (body !== undefined) lines.push(`Content-Length: ${Buffer.byteLength(body)}`)
  return Buffer.from(`${lines.join('\r\n')}${HEAD_END}${body ?? ''}`)
}

/** The status and the end of a whole answer in `text`, or undefined while some of it is missing. */
export function readAnswer(text: string): { status: number; end: number } | undefined {
  const head_end = text.indexOf(HEAD_END)
  if (head_end < 0) return undefined
  const head = text.slice(0, head_end)
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  if (length === undefined) throw new Error('an answer without Content-Length')
  const end = head_end + HEAD_END.length + Number(length)
  return text.length < end ? undefined : { status: Number(text.slice(STATUS_AT, STATUS_AT + 3)), end }
}

/** One connection with one request at a time. */
export type Line = { send(bytes: Buffer, on_answer: (status: number) => void): void; close(): void }

/**
 * Opens a connection. A request that its end cuts off is answered with status 0, and the line connects anew.
 */
export async function openLine(port: number, host: string): Promise<Line> {
  let waiting: ((status: number) => void) | undefined
  let socket: Socket
  let text = ''
  let is_closed = false

  function answer(status: number): void {
    const resolve = waiting
    waiting = undefined
    resolve?.(status)
  }

  function listen(): void {
    socket = connect(port, host).setNoDelay(true).setEncoding('latin1')
    socket.on('data', (chunk) => {
      text += chunk
      const found = readAnswer(text)
      if (!found) return
      text = text.slice(found.end)
      answer(found.status)
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (is_closed) return
      text = ''
      listen()
      answer(0)
    })
  }

  listen()
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  return {
    send(bytes, on_answer) {
      waiting = on_answer
      socket.write(bytes)
    },
    close() {
      is_closed = true
      socket.destroy()
    },
  }
}
