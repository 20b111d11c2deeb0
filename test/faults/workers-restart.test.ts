import t from 'tap'
import { send } from '../fixtures/http.ts'
import { openGround, startServer } from '../fixtures/program.ts'
import { until } from '../fixtures/until.ts'
import { readMetrics, workerPids } from '../fixtures/workers.ts'
import { openOwnRedis } from './fixtures/own-redis.ts'

const RESTARTED_WITHIN_MS = 60_000

t.test('when all workers are killed at once others come, on the same port', async (t) => {
  const ground = await openGround(t, 13)
  const server = await startServer(t, { ...ground.env, WORKERS: '2', SWEEPER: 'off' })
  for (let round = 1; round <= 2; round += 1) {
    const pids = await workerPids(server.pid)
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    const isBack = async () => {
      const metrics = await readMetrics(server.origin).catch(() => undefined)
      return metrics?.get('holdfast_workers') === 2
    }
    await until('others', isBack, RESTARTED_WITHIN_MS)
    t.same(
      (await workerPids(server.pid)).filter((pid) => pids.includes(pid)),
      [],
    )
  }
})

t.test('a worker that can not start is tried again, later and later, until it can', async (t) => {
  const ground = await openGround(t, 14)
  const redis = await openOwnRedis(t)
  const server = await startServer(t, {
    ...ground.env,
    REDIS_URL: redis.url,
    WORKERS: '2',
    SWEEPER: 'off',
    LOG_LEVEL: 'silent',
  })
  const [pid = 0] = await workerPids(server.pid)
  await redis.kill()
  process.kill(pid, 'SIGKILL')
  const waits = () =>
    [
      ...server.output.stdout.matchAll(
        /ended \(Redis does not answer .*\): the next one is started in ([\d.]+) s$/gm,
      ),
    ].map(([, seconds]) => Number(seconds))
  await until('two tries', () => waits().length >= 2, RESTARTED_WITHIN_MS)
  const [first = 0, second = 0] = waits()
  t.ok(first < second, `${waits()}`)
  t.match(
    await send(server.origin, { method: 'GET', path: '/healthz' }),
    { status: 200 },
    'the other one lives',
  )
  await redis.start()
  const isBack = async () => (await readMetrics(server.origin)).get('holdfast_workers') === 2
  await until('a worker that starts', isBack, RESTARTED_WITHIN_MS)
})
