import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { loadScript } from '../../src/engine/scripts.ts'
import { slotOfShard } from '../../src/engine/slots.ts'
import { checkLedger, newLedger, startSale } from '../faults/fixtures/sale.ts'
import { openTestCluster, ownerOf, type TestCluster } from '../fixtures/cluster.ts'
import { createDatabase } from '../fixtures/database.ts'
import { send } from '../fixtures/http.ts'
import { start, startServer } from '../fixtures/program.ts'
import { until } from '../fixtures/until.ts'
import { balance } from './fixtures/balance.ts'
import { isPromoted } from './fixtures/shop.ts'

const SHARDS = 6
const PROCESSES = 3
const UNITS = 1_000
const OPEN_WITHIN_MS = 10_000
/** Each sweeper looks four times a second. */
const WATCHED_MS = 1_500

/** From how many clients a script comes to each of the masters within a while. ioredis can not watch a Redis under load. */
async function callersOf({ masters }: TestCluster, script: string): Promise<number[]> {
  const line = new RegExp(`^\\+\\S+ \\[0 (\\S+)\\] "evalsha" "${loadScript(script).sha}"`, 'gm')
  const counts: number[] = []
  for (const { port } of masters) {
    const socket = connect(port, '127.0.0.1')
    let seen = ''
    socket.on('data', (data) => {
      seen += data
    })
    socket.write('MONITOR\r\n')
    await wait(WATCHED_MS)
    socket.destroy()
    counts.push(new Set([...seen.matchAll(line)].map(([, client]) => client)).size)
  }
  return counts
}

t.test(
  'three servers and three sweepers share a cluster, lose a master and are replaced one by one',
  async (t) => {
    const cluster = await openTestCluster(t, { node_timeout_ms: 2_000 })
    const database = await createDatabase(t)
    const env = {
      REDIS_CLUSTER_NODES: cluster.list,
      DATABASE_URL: database.url,
      STOCK_SHARDS: String(SHARDS),
      HOLD_TTL_SECONDS: '2',
      ORDER_TTL_SECONDS: '3',
      LOG_LEVEL: 'info',
    }
    const products: number[] = []
    for (let id = 1; id <= SHARDS; id += 1) {
      await database.query(
        `insert into products (id, name, unit_amount, currency, total, shard) values ($1, 'Shoe', 100, 'USD', $2, $3)`,
        [id, UNITS, id % SHARDS],
      )
      products.push(id)
    }
    const startOne = () => startServer(t, { ...env, SWEEPER: 'off' })
    const servers = await Promise.all(Array.from({ length: PROCESSES }, startOne))
    const sweepers = Array.from({ length: PROCESSES }, () => start(t, 'sweeper', env))
    await Promise.all(sweepers.map((sweeper) => sweeper.says(/sweeping 6 shards/)))
    const programs = [...servers, ...sweepers]

    const front = balance(servers)
    const ledger = newLedger()
    const sales = products.map((id) => startSale([front], id, { buyers: 1, ledger }))
    await sales[0]?.sells(30)
    const sweeping = await callersOf(cluster, 'expire-holds')
    t.same(sweeping, [PROCESSES, PROCESSES, PROCESSES], 'each master is swept by each sweeper')

    const master = await ownerOf(cluster, slotOfShard(0))
    const replica = cluster.replicas[cluster.masters.indexOf(master)]
    if (!replica) throw new Error('it has no replica')
    await master.kill()
    await isPromoted(replica)
    const areReady = async () => {
      const replies = await Promise.all(
        servers.map(({ origin }) => send(origin, { method: 'GET', path: '/readyz' })),
      )
      return replies.every(({ text }) => text.includes('"ready"'))
    }
    await until('all servers have all shards', areReady, OPEN_WITHIN_MS)
    await sales[0]?.sells(30)
    const rebuilt = programs
      .flatMap(({ output }) => output.stdout.match(/shard \d+: rebuilding as epoch \d+/g) ?? [])
      .sort()
    t.same(
      rebuilt,
      [...new Set(rebuilt)],
      `each shard is rebuilt by one process alone: ${rebuilt.join(', ')}`,
    )
    t.ok(rebuilt.length > SHARDS, 'and those of the lost master once more')

    for (const [at, server] of servers.entries()) {
      // As a deployment does: the new one is there before the old one goes.
      servers[at] = await startOne()
      server.kill('SIGTERM')
      t.match(await server.ended, { code: 0 }, 'the old one ends by itself')
    }
    for (const sweeper of sweepers.slice(1)) sweeper.kill('SIGKILL')
    await sales[0]?.sells(30)
    await Promise.all(sales.map((sale) => sale.stop()))

    const isSettled = async () => {
      const stocks = await Promise.all(
        products.map((id) =>
          send(servers[0]?.origin ?? '', { method: 'GET', path: `/api/products/${id}/stock` }),
        ),
      )
      return stocks.every(({ body }) => {
        const { data } = body as { data: { held: number; pending: number } }
        return data.held === 0 && data.pending === 0
      })
    }
    await until('one sweeper gives everything back', isSettled)
    await checkLedger(t, database.query, ledger, 'afterwards')
    const verify = start(t, 'verify', { ...env, LOG_LEVEL: 'warn' })
    t.match(await verify.ended, { code: 0 }, `Redis and PostgreSQL agree: ${verify.output.stdout}`)
    t.same([...ledger.refused.keys()], [503], 'nothing but 503 was refused')
  },
)
