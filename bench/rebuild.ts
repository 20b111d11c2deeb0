import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'
import { readConfig } from '../src/config.ts'
import { migrateDb } from '../src/db/migrate.ts'
import { openServers, type Servers } from '../src/embedded/servers.ts'
import { verifyShard } from '../src/recovery/verify.ts'
import { openService, type Service } from '../src/service.ts'

/*
  How long a shard is closed while it is rebuilt: with HOLDS live holds and ORDERS unpaid orders, once with all holds
  surviving, once after Redis has lost everything. On servers of its own in a temporary folder.

    node --import tsx bench/rebuild.ts
    HOLDS=100000 ORDERS=10000 ROUNDS=3 node --import tsx bench/rebuild.ts
*/

const HOLDS = Number(process.env.HOLDS ?? 100_000)
const ORDERS = Number(process.env.ORDERS ?? 10_000)
const ROUNDS = Number(process.env.ROUNDS ?? 3)
const PRODUCTS = 10
const AT_ONCE = 256
/** All is over before any of it ends by itself. */
const TTL_SECONDS = 86_400
/** What the design asks for: a second, and 10 µs for each live hold. */
const GOAL_MS = 1_000 + (10 * HOLDS) / 1_000
const POLL_MS = 1

const say = (line: string) => process.stdout.write(`${line}\n`)
const median = (figures: number[]) =>
  [...figures].sort((one, other) => one - other)[Math.floor(figures.length / 2)] ?? 0

/** Runs a step for each number below `count`, some of them at once. */
async function forAll(count: number, step: (at: number) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < count; at += AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - at) }, (_, one) => step(at + one)))
  }
}

function open(servers: Servers, lines: string[]): Promise<Service> {
  const note = (line: unknown) => lines.push(String(line))
  const ttls = { HOLD_TTL_SECONDS: String(TTL_SECONDS), ORDER_TTL_SECONDS: String(TTL_SECONDS) }
  return openService({ config: readConfig(ttls), ...servers, log: { info: note, warn: note, error: note } })
}

async function makeProducts({ db, engine }: Service): Promise<void> {
  const total = Math.ceil((2 * HOLDS + ORDERS) / PRODUCTS)
  await db.use((sql) =>
    sql.query(
      `insert into products (id, name, unit_amount, currency, total, shard)
        select id, 'Shoe ' || id, 9900, 'USD', $1, 0 from generate_series(1, $2::int) as id`,
      [total, PRODUCTS],
    ),
  )
  engine.fence.close(0, 'there are products', 'state')
  while (!engine.fence.isOpen(0)) await wait(POLL_MS)
}

async function place({ engine }: Service, at: number): Promise<string> {
  const items = [{ product_id: 1 + (at % PRODUCTS), qty: 1 }]
  const result = await engine.placeHold({ items, customer_id: null, idem: null })
  if (!('hold' in result)) throw new Error(`no hold: ${result.status}`)
  return result.hold.id
}

async function order(service: Service, at: number): Promise<void> {
  const result = await service.engine.createOrder(await place(service, at), null)
  if (result.status !== 'created') throw new Error(`no order: ${result.status}`)
  await service.writer.commit(result.entry)
}

/** Takes something away, and measures how long the shard is closed from the moment in which it is noticed. */
async function rebuild(service: Service, lose: () => Promise<unknown>): Promise<number> {
  const { engine } = service
  await lose()
  const started_ms = performance.now()
  await engine.probe()
  while (!engine.fence.isOpen(0)) await wait(POLL_MS)
  return performance.now() - started_ms
}

async function measure(servers: Servers): Promise<boolean> {
  const lines: string[] = []
  const service = await open(servers, lines)
  const { nodes, keys } = service.engine
  const redis = nodes.of(0)
  try {
    await makeProducts(service)
    await forAll(ORDERS, (at) => order(service, at))
    const figures = { surviving: [] as number[], lost: [] as number[] }
    for (let round = 1; round <= ROUNDS; round += 1) {
      await forAll(HOLDS, (at) => place(service, at))
      figures.surviving.push(await rebuild(service, () => redis.del(keys.shard(0, 'epoch'))))
      say(`  ${lines.findLast((line) => /rebuilt in/.test(line))}`)
      figures.lost.push(await rebuild(service, () => redis.flushall()))
      say(`  ${lines.findLast((line) => /rebuilt in/.test(line))}`)
    }
    const row = (what: string, all: number[]) =>
      `${what.padEnd(28)} ${Math.round(median(all))} ms (${all.map((one) => Math.round(one)).join(', ')})`
    say(row('closed, holds surviving:', figures.surviving))
    say(row('closed, everything lost:', figures.lost))
    say(`goal: ${Math.round(GOAL_MS)} ms`)
    const { is_clean } = await verifyShard(service.engine, service.db, 0, wait)
    say(is_clean ? 'Redis and PostgreSQL agree' : 'Redis and PostgreSQL DIFFER')
    return is_clean && [...figures.surviving, ...figures.lost].every((took_ms) => took_ms < GOAL_MS)
  } finally {
    await service.close()
  }
}

const folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-'))
try {
  const servers = await openServers({ data_dir: join(folder, 'data'), say })
  try {
    say(
      `${HOLDS} live holds, ${ORDERS} unpaid orders, ${PRODUCTS} products; ${cpus().length} cores, Node ${process.version}`,
    )
    await migrateDb(servers.database_url)
    process.exitCode = (await measure(servers)) ? 0 : 1
  } finally {
    await servers.close()
  }
} finally {
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}
