/*
  node scripts/setup.mjs --dev bench/listeners.ts [listeners]

  Measures what listeners of stock cost those who place holds: the time to the answer of holds that come at a fixed rate, to one
  process, with nobody listening and with 1,000 listeners to that very product, in turns. Servers are its own and throw-away.
*/
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openServers } from '../src/embedded/servers.ts'

const HOLDS_A_SECOND = 400
const SECONDS = 5
const ROUNDS = 4
const BODY = JSON.stringify({ product_id: 1, qty: 1 })
const HEADERS = { 'content-type': 'application/json', 'content-length': String(BODY.length) }
const agent = new Agent({ keepAlive: true, maxSockets: 64 })

/** The time to the answer of one hold, in ms. */
function hold(origin: string): Promise<number> {
  const started_ms = performance.now()
  return new Promise((resolve, reject) => {
    const sent = request(`${origin}/api/holds`, { method: 'POST', agent, headers: HEADERS }, (reply) => {
      reply.resume()
      reply.on('end', () =>
        reply.statusCode === 201
          ? resolve(performance.now() - started_ms)
          : reject(new Error(`a hold was answered ${reply.statusCode}`)),
      )
    })
    sent.on('error', reject)
    sent.end(BODY)
  })
}

/** Holds at a fixed rate, whether or not those before are answered: nobody waits for a slow server. */
async function measure(origin: string): Promise<number[]> {
  const answers: Array<Promise<number>> = []
  const started_ms = performance.now()
  for (let at = 0; at < HOLDS_A_SECOND * SECONDS; at += 1) {
    const early_ms = started_ms + (at * 1000) / HOLDS_A_SECOND - performance.now()
    if (early_ms > 1) await wait(early_ms)
    answers.push(hold(origin))
  }
  return Promise.all(answers)
}

/** Another process that listens, so that reading events costs the one that measures nothing. Counts what comes. */
async function listen(port: number, count: number): Promise<void> {
  let events = 0
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1'))
  for (const socket of sockets) {
    socket.write('GET /api/products/1/stock/stream HTTP/1.1\r\nHost: bench\r\n\r\n')
    socket.on('data', (chunk: Buffer) => {
      if (chunk.includes('event: stock')) events += 1
    })
  }
  process.on('message', () => process.send?.(events))
  process.on('disconnect', () => process.exit())
}

const at = (sorted: number[], share: number) => sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN
const shown = (all_ms: number[]) => {
  const sorted = all_ms.toSorted((one, other) => one - other)
  return [0.5, 0.99, 0.999].map((share) => `p${share * 100} ${at(sorted, share).toFixed(2)} ms`).join(', ')
}

async function main(count: number): Promise<void> {
  const data_dir = await mkdtemp(join(tmpdir(), 'holdfast-bench-'))
  const servers = await openServers({ data_dir, say: () => {}, is_throw_away: true })
  const { redis_url, database_url } = servers
  const env = { REDIS_URL: redis_url, DATABASE_URL: database_url, PORT: '0', LOG_LEVEL: 'warn' }
  const execArgv = ['--import', 'tsx']
  const program = fileURLToPath(new URL('../src/bin/server.ts', import.meta.url))
  const server = fork(program, { env: { ...process.env, ...env }, execArgv, silent: true })
  try {
    let said = ''
    while (!/ready at \S+:\d+/.test(said)) said += String((await once(server.stdout ?? server, 'data'))[0])
    const origin = /ready at (\S+)/.exec(said)?.[1] as string
    await fetch(`${origin}/api/products/1/stock`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'bench' },
      body: JSON.stringify({ delta: 1_000_000 }),
    })
    await measure(origin)
    const results: Record<'without' | 'with', number[]> = { without: [], with: [] }
    for (let round = 1; round <= ROUNDS; round += 1) {
      const without = await measure(origin)
      const listener = fork(fileURLToPath(import.meta.url), ['listen', new URL(origin).port, String(count)], {
        execArgv,
      })
      await wait(1_500)
      const events = async () => {
        listener.send('count')
        return (await once(listener, 'message'))[0] as number
      }
      const before = await events()
      const together = await measure(origin)
      const rate = Math.round(((await events()) - before) / SECONDS)
      listener.disconnect()
      await once(listener, 'exit')
      results.without.push(...without)
      results.with.push(...together)
      console.log(
        `round ${round}: without ${shown(without)}; with ${shown(together)}; ${rate} events/s received`,
      )
    }
    console.log(`${HOLDS_A_SECOND} holds/s, nobody listening:         ${shown(results.without)}`)
    console.log(`${HOLDS_A_SECOND} holds/s, ${count} listeners to it: ${shown(results.with)}`)
  } finally {
    agent.destroy()
    const ended = once(server, 'exit')
    server.kill('SIGTERM')
    await ended
    await servers.close()
    await rm(data_dir, { recursive: true, force: true })
  }
}

if (process.argv[2] === 'listen') await listen(Number(process.argv[3]), Number(process.argv[4]))
else await main(Number(process.argv[2] ?? 1_000))
