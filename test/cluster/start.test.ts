import t from 'tap'
import { slotOfShard } from '../../src/engine/slots.ts'
import { openOwnRedis } from '../faults/fixtures/own-redis.ts'
import { openTestCluster, ownerOf } from '../fixtures/cluster.ts'
import { createDatabase } from '../fixtures/database.ts'
import { send } from '../fixtures/http.ts'
import { start, startServer } from '../fixtures/program.ts'
import { until } from '../fixtures/until.ts'

const SHARDS = 3

t.test(
  'a process starts and serves while one master is away, and opens its shards once it is back',
  async (t) => {
    const cluster = await openTestCluster(t, { replicas: false })
    const database = await createDatabase(t)
    const env = {
      REDIS_CLUSTER_NODES: cluster.list,
      DATABASE_URL: database.url,
      STOCK_SHARDS: String(SHARDS),
      LOG_LEVEL: 'info',
    }
    const first = await startServer(t, env)
    t.match(
      first.output.stdout,
      /has no replica: when it is lost, so are its holds/,
      'what is wrong is said at the start',
    )
    first.kill('SIGTERM')
    t.match(await first.ended, { code: 0 })

    // Product 1 is in shard 1.
    const away = await ownerOf(cluster, slotOfShard(2))
    await away.kill()
    const { origin } = await startServer(t, env)
    const ask = (method: string, path: string, body?: object) =>
      send(origin, { method, path, ...(body === undefined ? {} : { body }) })
    t.match(await ask('POST', '/api/holds', { product_id: 1, qty: 1 }), { status: 201 })
    const ready = await ask('GET', '/readyz')
    t.match(ready, { status: 200, body: { data: { status: 'degraded', checks: { postgresql: 'ok' } } } })
    t.match(ready.text, /does not answer for shards 2"/)
    t.match((await ask('GET', '/metrics')).text, /^holdfast_fence_open\{shard="2"\} 0$/m)
    t.match((await ask('GET', '/metrics')).text, /^holdfast_fence_open\{shard="1"\} 1$/m)
    const product = { name: 'Shoe', unit_amount: 1, currency: 'USD', total_stock: 5 }
    const created = await ask('POST', '/api/products', product)
    t.match(created, { status: 503, body: { code: 'recovering' } }, 'what would live there has to wait')

    away.start()
    const isReady = async () => (await ask('GET', '/readyz')).text.includes('"ready"')
    await until('all shards are open', isReady)
    t.match(
      await ask('POST', '/api/holds', { product_id: 2, qty: 1 }),
      { status: 201 },
      'and comes through then',
    )
  },
)

t.test('settings that would lose holds stop the start or are said', async (t) => {
  const cluster = await openTestCluster(t, { replicas: false })
  const single = await openOwnRedis(t)
  const database = await createDatabase(t)
  const refusal = async (env: Record<string, string>) => {
    const { ended, output } = start(t, 'server', { DATABASE_URL: database.url, ...env })
    t.match(await ended, { code: 1 })
    return output.stderr
  }
  t.match(
    await refusal({ REDIS_URL: `redis://${cluster.masters[0]?.name}` }),
    /^holdfast: Redis at REDIS_URL is one node of a cluster: set REDIS_CLUSTER_NODES instead\n$/,
  )
  t.match(
    await refusal({ REDIS_CLUSTER_NODES: `127.0.0.1:${single.port}` }),
    /^holdfast: no node of REDIS_CLUSTER_NODES answers .*: start the cluster or correct the list\n$/,
  )
  await cluster.masters[1]?.redis.config('SET', 'maxmemory-policy', 'allkeys-lru')
  t.match(
    await refusal({ REDIS_CLUSTER_NODES: cluster.list }),
    new RegExp(
      `^holdfast: Redis at ${cluster.masters[1]?.name} has maxmemory-policy allkeys-lru .*noeviction\\n$`,
    ),
  )
  await cluster.masters[1]?.redis.config('SET', 'maxmemory-policy', 'noeviction')
  await cluster.masters[1]?.redis.config('SET', 'appendonly', 'no')
  await cluster.masters[2]?.redis.config('SET', 'cluster-require-full-coverage', 'yes')
  const { output } = await startServer(t, {
    REDIS_CLUSTER_NODES: cluster.list,
    DATABASE_URL: database.url,
    STOCK_SHARDS: String(SHARDS),
  })
  t.match(output.stdout, new RegExp(`${cluster.masters[1]?.name} has no append-only file`))
  t.match(output.stdout, new RegExp(`${cluster.masters[2]?.name} stops when any master is away`))
})
