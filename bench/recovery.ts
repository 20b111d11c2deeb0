import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import { readConfig } from '../src/config.ts'
import { migrateDb } from '../src/db/migrate.ts'
import { openServers, type Servers } from '../src/embedded/servers.ts'
import { verifyShard } from '../src/recovery/verify.ts'
import { openService, type Service } from '../src/service.ts'

/*
  How long a shard is closed while it is rebuilt, with 0, 10,000 and 100,000 live holds beside ORDERS unpaid ones, and beside what is
  over: PAID orders of as many customers of a product with a limit, RESULTS of keyed requests, a Redis that is full; and when Redis
  has lost everything. On servers of its own in a temporary folder.

    npm run bench:recovery
    PAID=100000 RESULTS=200000 ROUNDS=1 npm run bench:recovery
*/

const HOLDS = [0, 10_000, 100_000]
const ORDERS = Number(process.env.ORDERS ?? 10_000)
const PAID = Number(process.env.PAID ?? 1_000_000)
const RESULTS = Number(process.env.RESULTS ?? 2_000_000)
const ROUNDS = Number(process.env.ROUNDS ?? 3)
const PRODUCTS = 10
const LIMITED = PRODUCTS
const AT_ONCE = 256
const FILL_STEP = 5_000
/** All is over before any of it ends by itself. */
const TTL_SECONDS = 86_400
const POLL_MS = 1
/** Ready again within a second, 10 µs for each live hold and 100 µs for each unpaid order. */
const goalMs = (holds: number) => 1_000 + holds / 100 + ORDERS / 10

type Row = { what: string; closed_ms: Array<number | null>; lost_ms: number | null }

const say = (line: string) => process.stdout.write(`${line}\n`)
const median = (figures: number[]) =>
  [...figures].sort((one, other) => one - other)[Math.floor(figures.length / 2)] ?? 0

/** Runs a step for each number below `count`, some of them at once. */
async function forAll(count: number, step: (at: number) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < count; at += AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - at) }, (_, one) => step(at + one)))
  }
}

function open(servers: Servers): Promise<Service> {
  const ttls = { HOLD_TTL_SECONDS: String(TTL_SECONDS), ORDER_TTL_SECONDS: String(TTL_SECONDS) }
  const note = () => {}
  return openService({ config: readConfig(ttls), ...servers, log: { info: note, warn: note, error: note } })
}

const isOpen = async ({ engine }: Service) => {
  await engine.probe()
  while (!engine.fence.isOpen(0)) await wait(POLL_MS)
}

async function makeProducts(service: Service, sql: pg.Client): Promise<void> {
  await sql.query(
    `insert into products (id, name, unit_amount, currency, total, shard, max_per_customer)
      select id, 'Shoe ' || id, 9900, 'USD', $1, 0, case id when $3 then 3 end from generate_series(1, $2::int) as id`,
    [10 * (PAID + ORDERS) + 1_000_000, PRODUCTS, LIMITED],
  )
  service.engine.fence.close(0, 'there are products', 'state')
  await isOpen(service)
}

async function place({ engine }: Service, at: number): Promise<string> {
  const items = [{ product_id: 1 + (at % PRODUCTS), qty: 1 }]
  const result = await engine.placeHold({ items, customer_id: `now-${at}`, idem: null })
  if (!('hold' in result)) throw new Error(`no hold: ${result.status}`)
  return result.hold.id
}

async function order(service: Service, at: number): Promise<void> {
  const result = await service.engine.createOrder(await place(service, at), null)
  if (result.status !== 'created') throw new Error(`no order: ${result.status}`)
  await service.writer.commit(result.entry)
}

/** Paid orders of the past, each of another customer of the product with a limit. */
async function addPaid(sql: pg.Client): Promise<void> {
  const id = `'ord_' || lpad(to_hex(n), 16, '0') || '018f0000000' || '0'`
  await sql.query(
    `insert into orders (id, shard, history, payment_status, order_status, amount, currency, customer_id, created_at, pay_by,
        hold_created_at, hold_expires_at)
      select ${id}, 0, '1-' || n, 'paid', 'confirmed', 9900, 'USD', 'past-' || n, now(), now(), now(), now()
      from generate_series(1, ${PAID}) as n`,
  )
  await sql.query(
    `insert into order_items (order_id, product_id, qty, unit_amount, created_at)
      select ${id}, ${LIMITED}, 1, 9900, now() from generate_series(1, ${PAID}) as n`,
  )
}

/** Results of keyed requests whose holds and orders are over, as many of the one as of the other. */
async function addResults({ engine }: Service, redis: Redis): Promise<void> {
  const { keys } = engine
  const fill = `for n = ARGV[1], ARGV[2] do
    redis.call('SET', KEYS[1] .. n, 'f|1|' .. ARGV[3], 'PX', 86400000)
  end`
  const record = `AAAAAAAAAAAAAAAA018f00000000|1-1|paid|confirmed||1:1:9900|9900|USD|1|1|1|1||c`
  for (const scope of ['holds', 'orders']) {
    for (let at = 0; at < RESULTS / 2; at += FILL_STEP) {
      const last = Math.min(at + FILL_STEP, RESULTS / 2) - 1
      await redis.eval(fill, 1, keys.idem(0, scope, 'dead '), at, last, record)
    }
  }
}

/** Takes something away, and measures how long the shard is closed from the moment in which it is noticed. */
async function rebuild(service: Service, lose: () => Promise<unknown>): Promise<number> {
  const figures: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    await lose()
    const started_ms = performance.now()
    await isOpen(service)
    figures.push(performance.now() - started_ms)
  }
  return median(figures)
}

async function measure(service: Service, sql: pg.Client, redis: Redis): Promise<Row[]> {
  const { keys } = service.engine
  const forget = () => redis.del(keys.shard(0, 'epoch'))
  const lose = () => redis.flushall()
  const placeUpTo = async (from: number, to: number) => {
    await forAll(to - from, (at) => place(service, from + at))
    return to
  }
  /** A line of the table, or two: as Redis is, and with no memory left. */
  async function row(what: string, is_filled: boolean): Promise<Row[]> {
    const closed_ms: number[] = []
    const full_ms: number[] = []
    let placed = 0
    for (const holds of HOLDS) {
      placed = await placeUpTo(placed, holds)
      closed_ms.push(await rebuild(service, forget))
      if (!is_filled) continue
      await redis.config('SET', 'maxmemory', '1mb')
      full_ms.push(await rebuild(service, forget))
      await redis.config('SET', 'maxmemory', '0')
    }
    const lost_ms = await rebuild(service, lose)
    const rows = [{ what, closed_ms, lost_ms }]
    return is_filled
      ? [...rows, { what: `${what}, and Redis is full`, closed_ms: full_ms, lost_ms: null }]
      : rows
  }

  await forAll(ORDERS, (at) => order(service, at))
  await rebuild(service, lose)
  const rows = await row('nothing is over', false)
  say(`adding ${PAID} paid orders`)
  await addPaid(sql)
  await rebuild(service, lose)
  rows.push(...(await row(`${PAID} paid orders`, false)))
  say(`adding ${RESULTS} results of keyed requests`)
  await addResults(service, redis)
  rows.push(...(await row(`the same and ${RESULTS} results`, true)))
  return rows
}

function print(rows: Row[]): void {
  const ms = (figure: number | null) => (figure === null ? '' : `${Math.round(figure)} ms`)
  const lines = [
    ['live holds', ...HOLDS.map(String), 'all lost'],
    ...rows.map(({ what, closed_ms, lost_ms }) => [what, ...closed_ms.map(ms), ms(lost_ms)]),
    ['goal', ...HOLDS.map((holds) => ms(goalMs(holds))), ms(goalMs(0))],
  ]
  for (const [first = '', ...cells] of lines) {
    say(`${first.padEnd(58)}${cells.map((cell) => cell.padStart(10)).join('')}`)
  }
}

const isWithin = ({ closed_ms, lost_ms }: Row) =>
  closed_ms.every((ms, at) => (ms ?? 0) <= goalMs(HOLDS[at] ?? 0)) && (lost_ms ?? 0) <= goalMs(0)

async function run(servers: Servers): Promise<boolean> {
  const sql = new pg.Client({ connectionString: servers.database_url })
  await sql.connect()
  // Not the service's connection: what this does to Redis may take longer than a buyer waits.
  const redis = new Redis(servers.redis_url)
  const service = await open(servers)
  try {
    await makeProducts(service, sql)
    const rows = await measure(service, sql, redis)
    print(rows)
    const started_ms = performance.now()
    const { is_clean } = await verifyShard(service.engine, service.db, 0, wait)
    const took_ms = Math.round(performance.now() - started_ms)
    say(`${is_clean ? 'Redis and PostgreSQL agree' : 'Redis and PostgreSQL DIFFER'}, found in ${took_ms} ms`)
    return is_clean && rows.every(isWithin)
  } finally {
    await service.close()
    redis.disconnect()
    await sql.end()
  }
}

const folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-'))
try {
  const servers = await openServers({ data_dir: join(folder, 'data'), say })
  try {
    say(`${ORDERS} unpaid orders, ${PRODUCTS} products; ${cpus().length} cores, Node ${process.version}`)
    await migrateDb(servers.database_url)
    process.exitCode = (await run(servers)) ? 0 : 1
  } finally {
    await servers.close()
  }
} finally {
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}
