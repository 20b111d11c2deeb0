import t from 'tap'
import { freePort } from '../../src/embedded/process.ts'
import type { App } from '../fixtures/app.ts'
import { keepAlive, send } from '../fixtures/http.ts'
import { openGround, startServer } from '../fixtures/program.ts'
import { until } from '../fixtures/until.ts'
import { openConnection, readMetrics, workerPids } from '../fixtures/workers.ts'
import { buildFaulty } from './fixtures/faulty-app.ts'
import { checkSale, startSale } from './fixtures/sale.ts'

const RESTARTED_WITHIN_MS = 60_000
const STOPPED_WITHIN_MS = 10_000
/** Programs know no other prefix. */
const prefix = 'hf'

const CUT_OFF = { status: 503, headers: {}, text: '', body: undefined, took_ms: 0 }

/** Resolves once none of these processes is there any more. */
const areGone = (pids: number[], primary: number) =>
  until(
    'the end of the workers',
    async () => {
      const left = pids.filter((pid) => isThere(pid))
      return left.length === 0 && (await workerPids(primary)).length === 0
    },
    STOPPED_WITHIN_MS,
  )

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

t.test('workers killed under load, one after the other, cost nothing that was acknowledged', async (t) => {
  const { app, server: redis } = await buildFaulty(t, { prefix, sweeper: false })
  const product = await app.product(5_000)
  const env = { REDIS_URL: redis.url, DATABASE_URL: app.database.url, WORKERS: '2' }
  const server = await startServer(t, env)
  const agent = keepAlive()
  t.teardown(() => agent.destroy())
  let cut_off = 0
  // A connection that breaks is no answer; the same is asked again.
  const call: App['call'] = (method, path, body, more = {}) =>
    send(server.origin, { method, path, agent, ...(body === undefined ? {} : { body }), ...more }).catch(
      () => {
        cut_off += 1
        return CUT_OFF
      },
    )
  const sale = startSale([{ call }], product, { buyers: 8 })
  for (let killed = 1; killed <= 2; killed += 1) {
    await sale.sells(10)
    const [pid = 0] = await workerPids(server.pid)
    process.kill(pid, 'SIGKILL')
    await sale.sells(10)
    const isBack = async () => {
      const metrics = await readMetrics(server.origin).catch(() => undefined)
      return (
        metrics?.get('holdfast_workers') === 2 && metrics.get('holdfast_worker_restarts_total') === killed
      )
    }
    await until('another worker', isBack, RESTARTED_WITHIN_MS)
  }
  await sale.sells(10)
  t.ok(cut_off > 0, 'buyers were in the middle of something')
  await checkSale(t, app, await sale.stop())
})

t.test('workers end by themselves when their primary is killed', async (t) => {
  const ground = await openGround(t, 12)
  const product_id = await ground.product(10)
  const port = await freePort()
  const server = await startServer(t, { ...ground.env, WORKERS: '2', PORT: String(port) })
  const pids = await workerPids(server.pid)
  t.equal(pids.length, 2)
  const connection = await openConnection(t, server.origin)
  t.ok(await connection.isAnswered())
  const body = { product_id, qty: 1 }
  t.match(await send(server.origin, { method: 'POST', path: '/api/holds', body }), { status: 201 })
  server.kill('SIGKILL')
  await areGone(pids, server.pid)
  await ground.agree(t, 'afterwards')
  const again = await startServer(t, { ...ground.env, WORKERS: '2', PORT: String(port) })
  t.match(await send(again.origin, { method: 'POST', path: '/api/holds', body }), { status: 201 })
})
