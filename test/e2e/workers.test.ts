import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { MAX_CONNECTIONS } from '../../src/embedded/postgres.ts'
import { createKeys } from '../../src/engine/keys.ts'
import { connectionsOfEach } from '../../src/workers/primary.ts'
import { newFolder, serverPids, stillRunning } from '../embedded/fixtures/program.ts'
import { newKey } from '../fixtures/app.ts'
import { sendPatiently as send } from '../fixtures/http.ts'
import { openGround, startServer } from '../fixtures/program.ts'
import { times, until } from '../fixtures/until.ts'
import { openConnection, readMetrics, workerPids } from '../fixtures/workers.ts'

const STOPPED_WITHIN_MS = 10_000
/** PostgreSQL keeps three for itself; a sweeper, verify and somebody who looks on take the others. */
const OTHER_CONNECTIONS = 40

t.test('several workers serve one port, and each tells the numbers of all', async (t) => {
  const ground = await openGround(t, 11)
  const product_id = await ground.product(100)
  const server = await startServer(t, { ...ground.env, WORKERS: '3', SWEEPER: 'off' })
  const { origin } = server
  t.equal((await workerPids(server.pid)).length, 3)

  // Each request comes over a connection of its own; the workers take turns.
  const place = (qty: number, key = newKey()) =>
    send(origin, {
      method: 'POST',
      path: '/api/holds',
      body: { product_id, qty },
      headers: { 'idempotency-key': key },
    })
  const keys = await times(40, async (at) => `key-${at}`)
  t.same(new Set((await times(40, (at) => place(1, keys[at]))).map(({ status }) => status)), new Set([201]))
  t.same(new Set((await times(12, (at) => place(1, keys[at]))).map(({ status }) => status)), new Set([201]))
  t.same(new Set((await times(7, () => place(90))).map(({ status }) => status)), new Set([409]))
  await ground.redis.xadd(createKeys('hf').shard(0, 'journal'), '*', 'order', '')

  const expected = {
    'holdfast_holds_total{outcome="granted"}': 40,
    'holdfast_holds_total{outcome="replayed"}': 12,
    'holdfast_holds_total{outcome="insufficient_stock"}': 7,
    // What Redis and PostgreSQL hold is there once, however many look at it.
    'holdfast_journal_entries{shard="0"}': 1,
    holdfast_refunds_open: 0,
    'holdfast_fence_open{shard="0"}': 1,
    holdfast_workers: 3,
    holdfast_worker_restarts_total: 0,
  }
  const names = Object.keys(expected)
  for (const metrics of await times(6, () => readMetrics(origin))) {
    t.same(Object.fromEntries(names.map((name) => [name, metrics.get(name)])), expected)
  }

  // So is the live page, and its desk has the numbers of all.
  for (const { status, body } of await times(6, () => send(origin, { method: 'GET', path: '/api/desk' }))) {
    t.match({ status, body }, { status: 200, body: { data: { workers: 3, refunds_open: 0 } } })
  }
  t.match(await send(origin, { method: 'GET', path: '/' }), { status: 200, text: /<title>Holdfast/ })
  const granted = await until(
    'the samples that the primary takes',
    async () => {
      const { body } = await send(origin, { method: 'GET', path: '/api/desk' })
      const { series } = (body as { data: { series: { holds_granted: number[] } } }).data
      const rates = series.holds_granted.reduce((sum, rate) => sum + rate, 0)
      return rates > 0 && rates * 5
    },
    20_000,
  )
  t.ok(granted > 20 && granted < 41, `the holds of all workers are in the series, not a third: ${granted}`)

  const connections = []
  for (let at = 0; at < 6; at += 1) {
    const connection = await openConnection(t, origin)
    t.ok(await connection.isAnswered())
    connections.push(connection)
  }
  const [pid = 0, ...others] = await workerPids(server.pid)
  process.kill(pid, 'SIGKILL')
  t.same(await stillRunning([pid]), [])
  const answered = await Promise.all(connections.map((connection) => connection.isAnswered()))
  t.equal(answered.filter(Boolean).length, 4, 'a third of the connections was with it, the others go on')
  const restarted = async () => {
    const metrics = await readMetrics(origin).catch(() => undefined)
    return (
      metrics !== undefined &&
      metrics.get('holdfast_worker_restarts_total') === 1 &&
      metrics.get('holdfast_workers') === 3 &&
      metrics
    )
  }
  const metrics = await until('another worker', restarted, 60_000)
  t.equal(metrics.get('holdfast_holds_total{outcome="granted"}'), 40, 'what it counted is not forgotten')
  const now = await workerPids(server.pid)
  t.same(
    others.filter((other) => !now.includes(other)),
    [],
    'the others are the same',
  )
  t.equal(now.length, 3)
  t.match(
    server.output.stdout,
    new RegExp(`^holdfast: worker ${pid} ended \\(SIGKILL\\): the next one is started`, 'm'),
  )
})

t.test('a service of several workers stops with all that it started, as npm starts it', async (t) => {
  const data_dir = await newFolder(t)
  const server = await startServer(t, { DATA_DIR: join(data_dir, 'data'), WORKERS: '2' }, { setup: true })
  const connection = await openConnection(t, server.origin)
  t.ok(await connection.isAnswered())
  t.match(await send(server.origin, { method: 'GET', path: '/api/products/1' }), { status: 200 })
  const pids = [...(await workerPids(server.pid)), ...(await serverPids(join(data_dir, 'data')))]
  t.equal(pids.length, 4)
  const started_ms = performance.now()
  server.kill('SIGTERM')
  t.same(await server.ended, { code: 0, signal: null })
  t.ok(performance.now() - started_ms < STOPPED_WITHIN_MS, 'in time')
  t.same(await stillRunning(pids), [])
  t.match(server.output.stderr, /^(holdfast: [^\n]*: \d+ s\n)*$/, 'progress at most')
  await rm(join(data_dir, 'data'), { recursive: true })
})

t.test('however many workers there are, the embedded PostgreSQL has a connection for each', async (t) => {
  for (let count = 1; count <= 64; count += 1) {
    const each = connectionsOfEach(count)
    t.ok(
      each >= 2 && count * (each + 1) + OTHER_CONNECTIONS <= MAX_CONNECTIONS,
      `${count} workers: ${each} each`,
    )
  }
})
