import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Life } from '../../src/bin/lifecycle.ts'
import { openDb } from '../../src/db/client.ts'
import { findInstallation } from '../../src/db/installation.ts'
import { migrateDb } from '../../src/db/migrate.ts'
import { findProducts } from '../../src/db/products.ts'
import { startRedis, stopRedis } from '../../src/embedded/redis.ts'
import { createEngine } from '../../src/engine/engine.ts'
import { parseEpoch } from '../../src/engine/epochs.ts'
import { openNodes } from '../../src/engine/nodes.ts'
import { connectRedis } from '../../src/engine/redis.ts'
import { verifyShard } from '../../src/recovery/verify.ts'
import { startCluster } from '../../test/fixtures/cluster.ts'
import { startGenerator } from '../children.ts'
import type { Job, LoadResult } from '../load/jobs.ts'
import { processCpu, redisCpu } from '../measure.ts'
import { type Stage, startService } from '../stage.ts'
import { type Context, holdRequest } from './context.ts'

const SHARDS = 12
const PRODUCTS = 24
const UNITS = 1_000_000_000
const TTL_SECONDS = 86_400
const CONNECTIONS = 256
/** API processes that share the orders. */
export const NODE_COUNTS = [1, 2, 4]
export const nodesArm = (count: number) => `nodes-${count}`
const ORDERS = 4_000
const AT_ONCE = 64
/** PostgreSQL counts a transaction up to a second late. */
const COUNTED_AFTER_MS = 1_500
const POLL_MS = 20
const PASSWORD = 'bench'

const sum = (values: number[]) => values.reduce((all, value) => all + value, 0)

/** Calls of scripts that a server has run, and the time they took. */
async function scriptStats(redis: Redis): Promise<{ calls: number; us: number }> {
  const [, calls = 0, us = 0] = (
    /^cmdstat_evalsha:calls=(\d+),usec=(\d+)/m.exec(await redis.info('commandstats')) ?? []
  ).map(Number)
  return { calls, us }
}

/** A service, and the Redis servers that its shards live on. */
type Place = Awaited<ReturnType<typeof openPlace>>
type Service = Awaited<ReturnType<typeof startService>>
export type ClusterGround = Awaited<ReturnType<typeof openClusterGround>>

async function ask<Answer>(url: string, body?: object): Promise<Answer> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, body ? { method: 'POST', headers, body: JSON.stringify(body) } : {})
  const text = await response.text()
  if (!response.ok) throw new Error(`${new URL(url).pathname} answers ${response.status}: ${text}`)
  return (JSON.parse(text) as { data: Answer }).data
}

async function createProducts(url: string): Promise<number[]> {
  const ids: number[] = []
  for (let at = 1; at <= PRODUCTS; at += 1) {
    const terms = { name: `Shoe ${at}`, unit_amount: 9900, currency: 'USD', hold_ttl_seconds: TTL_SECONDS }
    ids.push((await ask<{ id: number }>(`${url}/api/products`, { ...terms, total_stock: UNITS })).id)
  }
  return ids
}

/**
 * Starts API processes with a database of their own.
 *
 * @param address of their Redis, as `openNodes` takes it
 * @param servers connections to the Redis servers behind it
 */
async function openPlace(
  stage: Stage,
  life: Life,
  place: { name: string; settings: Record<string, string>; address: string; servers: Redis[]; apis: number },
) {
  const { name, settings, address, servers, apis } = place
  await stage.sql.query(`create database ${name}`)
  const database_url = new URL(stage.database_url)
  database_url.pathname = `/${name}`
  await migrateDb(database_url.href)
  const db = openDb(database_url.href)
  life.onStop(() => db.close())
  const env = { ...settings, DATABASE_URL: database_url.href, STOCK_SHARDS: String(SHARDS) }
  const services: Service[] = []
  for (let at = 0; at < apis; at += 1) {
    // One of them sweeps, as in the place with one process.
    const own = at === 0 ? env : { ...env, SWEEPER: 'off' }
    services.push(await startService(join(stage.folder, `${name}-${at}.log`), own, life))
  }
  const [service] = services as [Service]
  const product_ids = await createProducts(service.url)
  const nodes = openNodes(address)
  life.onStop(async () => nodes.disconnect())
  await nodes.connect()
  const shards = new Map(
    (await db.use((sql) => findProducts(sql, product_ids))).map(({ id, shard }) => [id, shard]),
  )

  /** The units held in each server. */
  async function heldByServer(): Promise<number[]> {
    const products = await ask<Array<{ id: number; stock: { held: number } }>>(
      `${service.url}/api/products?limit=100`,
    )
    const held = servers.map(() => 0)
    for (const { id, stock } of products) {
      const { port } = (await nodes.locate(shards.get(id) ?? 0)).options
      const at = servers.findIndex(({ options }) => options.port === port)
      held[at] = (held[at] ?? 0) + stock.held
    }
    return held
  }

  /** What differs between Redis and PostgreSQL, once all is written. */
  async function check(): Promise<string[]> {
    const ttls = { hold_ttl_ms: TTL_SECONDS * 1000, order_ttl_ms: TTL_SECONDS * 1000 }
    const installation = await db.use(findInstallation)
    const engine = createEngine({ nodes, installation, shards: SHARDS, ...ttls })
    const found: string[] = []
    for (let shard = 0; shard < SHARDS; shard += 1) {
      const redis = await nodes.locate(shard)
      engine.fence.open(shard, parseEpoch(await redis.get(engine.keys.shard(shard, 'epoch'))).epoch)
      while ((await engine.journal.length(shard)) > 0)
        await wait(POLL_MS, undefined, { signal: stage.stopping })
      const { differences, products } = await verifyShard(engine, db, shard, wait)
      found.push(...differences, ...products.flatMap((product) => product.differences))
    }
    return found.map((difference) => `${name}: ${difference}`)
  }

  return { name, service, services, servers, product_ids, heldByServer, check }
}

/** Three masters, and beside them one master and one server that is no cluster, with the same products in the same shards. */
export async function openClusterGround(stage: Stage, life: Life) {
  async function openCluster(name: string, masters: number, apis: number): Promise<Place> {
    const cluster = await startCluster(stage.folder, { masters, replicas: false })
    life.onStop(cluster.close)
    return openPlace(stage, life, {
      ...{ name, settings: { REDIS_CLUSTER_NODES: cluster.list }, address: cluster.address, apis },
      servers: cluster.masters.map(({ redis }) => redis),
    })
  }

  const several = await openCluster('several', 3, Math.max(...NODE_COUNTS))
  const single = await openCluster('single', 1, 1)
  const data_dir = join(stage.folder, 'one')
  const server = await startRedis({
    data_dir,
    password: PASSWORD,
    stopping: stage.stopping,
    onStarted: async () => {},
  })
  life.onStop(() => stopRedis(server.id))
  const address = `redis://:${PASSWORD}@127.0.0.1:${server.port}`
  const redis = connectRedis(address)
  life.onStop(async () => redis.disconnect())
  await redis.connect()
  const settings = { REDIS_URL: address }
  const one = await openPlace(stage, life, { name: 'one', settings, address, servers: [redis], apis: 1 })
  const generators = several.services.map((_, at) =>
    startGenerator(join(stage.folder, `generator-${at}.log`), stage.stopping),
  )
  for (const { stop } of generators) life.onStop(stop)
  return {
    ...{ several, single, one, generators },
    check: async () => [...(await several.check()), ...(await single.check()), ...(await one.check())],
  }
}

/** Holds on all products, drawn by chance: what they cost the API and each Redis. */
async function measureHolds(
  { stage, options, samples, say }: Context,
  place: Place,
  arm: string,
  round: number,
) {
  const { service, servers, product_ids } = place
  const { generator } = stage
  const job = (seconds: number): Job => ({
    ...{ kind: 'spread', url: service.url, connections: CONNECTIONS, seconds },
    requests: product_ids.map(holdRequest),
  })
  const read = async () => ({
    held: await place.heldByServer(),
    redis_ms: await Promise.all(servers.map(redisCpu)),
    scripts: await Promise.all(servers.map(scriptStats)),
    server_ms: await processCpu(service.pid),
  })
  await generator.run(job(options.warm_up_seconds))
  const before = await read()
  const { count_by_status, seconds, errors } = await generator.run(job(options.seconds))
  const after = await read()
  const held = after.held.map((units, at) => units - (before.held[at] ?? 0))
  const redis_ms = after.redis_ms.map((ms, at) => ms - (before.redis_ms[at] ?? 0))
  const [all_held, all_redis_ms] = [sum(held), sum(redis_ms)]
  const scripts = (name: 'calls' | 'us') =>
    sum(after.scripts.map((stats) => stats[name])) - sum(before.scripts.map((stats) => stats[name]))
  const busiest = redis_ms.indexOf(Math.max(...redis_ms))
  const { 201: placed = 0, ...others } = count_by_status
  const figures = {
    per_second: placed / seconds,
    redis_us: (all_redis_ms * 1000) / all_held,
    server_us:
      before.server_ms === null ? null : (((after.server_ms ?? 0) - before.server_ms) * 1000) / all_held,
    script_us: scripts('us') / all_held,
    script_calls: (scripts('calls') * 1000) / all_held,
    busiest_us: ((redis_ms[busiest] ?? 0) * 1000) / (held[busiest] ?? 0),
    busiest_share: (redis_ms[busiest] ?? 0) / all_redis_ms,
    unexpected: sum(Object.values(others)) + errors,
  }
  samples.push({ arm, connections: CONNECTIONS, round, figures })
  const share = `${Math.round(figures.busiest_share * 100)} % at the busiest`
  const cost = `Redis ${figures.redis_us.toFixed(1)} µs a hold, ${figures.script_us.toFixed(1)} of it scripts`
  say(`  ${arm}: ${Math.round(figures.per_second)} holds/s, ${cost}, ${share}`)
}

async function placeHolds({ service, product_ids }: Place): Promise<string[]> {
  const ids: string[] = []
  while (ids.length < ORDERS) {
    const placing = Array.from({ length: Math.min(AT_ONCE, ORDERS - ids.length) }, (_, at) =>
      ask<{ hold_id: string }>(`${service.url}/api/holds`, {
        product_id: product_ids[at % PRODUCTS],
        qty: 1,
      }),
    )
    ids.push(...(await Promise.all(placing)).map(({ hold_id }) => hold_id))
  }
  return ids
}

/** Orders shared out to some API processes: how many transactions they take. */
async function measureOrders(context: Context, ground: ClusterGround, count: number, round: number) {
  const { stage, samples, say } = context
  const place = ground.several
  const transactions = async () => {
    await wait(COUNTED_AFTER_MS, undefined, { signal: stage.stopping })
    const { rows } = await stage.sql.query<{ commits: number }>(
      'select xact_commit::int as commits from pg_stat_database where datname = $1',
      [place.name],
    )
    return rows[0]?.commits ?? Number.NaN
  }
  const hold_ids = await placeHolds(place)
  const before = await transactions()
  const jobs = place.services.slice(0, count).map(({ url }, at) => {
    const own = hold_ids.filter((_, index) => index % count === at)
    const job: Job = { kind: 'orders', url, connections: CONNECTIONS / count, hold_ids: own }
    return ground.generators[at]?.run(job)
  })
  const results = (await Promise.all(jobs)) as LoadResult[]
  const made = sum(results.map(({ count_by_status }) => count_by_status[201] ?? 0))
  const figures = {
    transactions: (((await transactions()) - before) * 1000) / made,
    unexpected: ORDERS - made,
  }
  samples.push({ arm: nodesArm(count), connections: CONNECTIONS, round, figures })
  say(`  ${nodesArm(count)}: ${figures.transactions.toFixed(1)} transactions for 1,000 orders`)
}

/** Twelve shards on three masters, on one and on one server in turn, then orders by more and more API processes. */
export async function cluster(context: Context, ground: ClusterGround, round: number): Promise<void> {
  const turns: Array<[string, Place]> = [
    ['cluster', ground.several],
    ['one-master', ground.single],
    ['one-server', ground.one],
  ]
  for (const [arm, place] of round % 2 === 0 ? turns : turns.reverse())
    await measureHolds(context, place, arm, round)
  for (const count of NODE_COUNTS) await measureOrders(context, ground, count, round)
}
