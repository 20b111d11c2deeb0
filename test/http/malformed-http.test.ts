import { request } from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { build } from '../fixtures/app.ts'
import { snapshot } from '../fixtures/refusals.ts'
import { problemProblems } from '../fixtures/replies.ts'

const app = await build(t)
const product = await app.product(100)

/** Sends bytes as they are and reads what comes until the connection closes. */
function sendBytes(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(app.origin).port), '127.0.0.1', () => socket.write(bytes))
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      text += chunk
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(text))
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer')))
  })
}

t.test('what is not even HTTP is answered with a problem all the same', async (t) => {
  const before = await snapshot(app)
  const host = 'Host: holdfast\r\n'
  const cases: Array<[string, string, number]> = [
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['no host', 'GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ['headers of 32 KiB', `GET /healthz HTTP/1.1\r\n${host}X-Long: ${'x'.repeat(32 * 1024)}\r\n\r\n`, 431],
    ['a header with a line break inside', `GET /healthz HTTP/1.1\r\n${host}X: a\rb\r\n\r\n`, 400],
    [
      'two lengths',
      `POST /api/holds HTTP/1.1\r\n${host}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`,
      400,
    ],
    ['a length that is none', `POST /api/holds HTTP/1.1\r\n${host}Content-Length: two\r\n\r\n{}`, 400],
    [
      'length and chunks',
      `POST /api/holds HTTP/1.1\r\n${host}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}`,
      400,
    ],
    ['an absurd method', `STEAL /api/holds HTTP/1.1\r\n${host}\r\n`, 400],
  ]
  for (const [name, bytes, status] of cases) {
    const [head = '', text = ''] = (await sendBytes(bytes)).split('\r\n\r\n')
    const [first, ...lines] = head.split('\r\n')
    const headers = Object.fromEntries(
      lines.map((one) => [
        one.slice(0, one.indexOf(':')).toLowerCase(),
        one.slice(one.indexOf(':') + 1).trim(),
      ]),
    )
    t.match(first, new RegExp(`^HTTP/1.1 ${status} `), name)
    t.same(problemProblems({ status, headers, text, body: JSON.parse(text), took_ms: 0 }), [], name)
    t.match(headers['x-request-id'], /^[\w.-]{1,100}$/, 'it has a request id')
  }
  t.same(await snapshot(app), before, 'nothing changed')
})

t.test('a body that stops half-way changes nothing', async (t) => {
  const before = await snapshot(app)
  await new Promise((resolve) => {
    const body = JSON.stringify({ product_id: product, qty: 1 })
    const outgoing = request(`${app.origin}/api/holds`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': body.length },
    })
    outgoing.on('error', resolve)
    outgoing.write(body.slice(0, -1), () => outgoing.destroy(new Error('gone')))
  })
  t.match(await app.call('GET', '/healthz'), { status: 200 })
  t.same(await snapshot(app), before)
})
