import { randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { readConfig } from '../config.ts'
import { checkDb, openDb } from '../db/client.ts'
import { createEngine } from '../engine/engine.ts'
import { openNodes } from '../engine/nodes.ts'
import { checkNodes } from '../engine/settings.ts'
import { StartError } from '../errors.ts'
import { showProgress } from '../progress.mjs'
import { seeded } from '../random.ts'
import { buy } from '../rehearsal/buyers.ts'
import { type Certificate, certify } from '../rehearsal/certificate.ts'
import { createLedger } from '../rehearsal/ledger.ts'
import { awaitReady, type FaultName, openStage, type Stage } from '../rehearsal/stage.ts'
import { type Life, runCommand, say } from './lifecycle.ts'
import { openMigrated } from './open.ts'

const HELP = `npm run rehearse -- [options]

Rehearses a sale: many buyers hold, order, pay, fail to pay, cancel and give up, while parts of the installation are
killed; then compares everything that was acknowledged with what is there. Exit code 1 when a promise was broken.
Without --url it starts an installation of its own in a temporary folder.

Options
  --url URL       a running service instead, with the REDIS_URL, DATABASE_URL or DATA_DIR of that service set here;
                  it gets the load and a product of its own, but no faults
  --runs N        sales, one after the other (1)    --seconds N  of buying in each, faults not counted (3)
  --buyers N      at the same time (32)             --units N    on sale (150)
  --faults LIST   of kill-redis, flush-redis, stop-postgres, kill-api: one of them in each run, drawn at random (all)
  --seed N        what is drawn (random)            --help       this text`

const FAULTS: FaultName[] = ['kill-redis', 'flush-redis', 'stop-postgres', 'kill-api']
/** Buyers who insist on an answer get this long to get it. */
const FINISH_LIMIT_MS = 30_000
const JOURNAL_LIMIT_MS = 20_000
const JOURNAL_POLL_MS = 50

type Options = {
  url: string | undefined
  runs: number
  seconds: number
  buyers: number
  units: number
  faults: FaultName[]
  seed: number
}
type Place = { url: string; redis_url: string; database_url: string; stage: Stage | undefined }

function readOptions(argv: string[]): Options | undefined {
  const text = (value: string) => ({ type: 'string', default: value }) as const
  const seed = text(String(randomBytes(4).readUInt32LE()))
  const numbers = { runs: text('1'), seconds: text('3'), buyers: text('32'), units: text('150'), seed }
  const options = {
    ...numbers,
    url: { type: 'string' },
    faults: text(FAULTS.join(',')),
    help: { type: 'boolean' },
  } as const
  let values: ReturnType<typeof parseArgs<{ options: typeof options }>>['values']
  try {
    values = parseArgs({ args: argv, options }).values
  } catch (error) {
    throw new StartError(`${(error as Error).message.split('.')[0]}: see npm run rehearse -- --help`)
  }
  if (values.help) return undefined
  const read = (name: keyof typeof numbers) => {
    const value = Number(values[name])
    if (!Number.isSafeInteger(value) || value < 1)
      throw new StartError(`--${name} must be a whole number above 0`)
    return value
  }
  const faults = values.faults.split(',').filter((name) => name !== '') as FaultName[]
  const unknown = faults.find((name) => !FAULTS.includes(name))
  if (unknown) throw new StartError(`there is no fault ${unknown}: choose from ${FAULTS.join(', ')}`)
  const [runs, seconds, buyers, units] = [read('runs'), read('seconds'), read('buyers'), read('units')]
  return { url: values.url, runs, seconds, buyers, units, faults, seed: read('seed') }
}

async function openPlace(options: Options, life: Life): Promise<Place> {
  if (options.url === undefined) {
    say('starting an installation of its own')
    const stage = await showProgress('starting Redis, PostgreSQL and the API', () =>
      openStage({ stopping: life.stopping }),
    )
    life.onStop(() => stage.close())
    return { ...stage, stage }
  }
  const servers = await openMigrated(readConfig(process.env), life)
  return { ...servers, url: options.url.replace(/\/$/, ''), stage: undefined }
}

async function createProduct(url: string, units: number): Promise<number> {
  const token = process.env.ADMIN_TOKEN
  const response = await fetch(`${url}/api/products`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) },
    body: JSON.stringify({
      name: 'Rehearsal',
      unit_amount: 100,
      currency: 'USD',
      total_stock: units,
      hold_ttl_seconds: 2,
    }),
  }).catch((error: Error) => {
    throw new StartError(`${url} does not answer (${error.message}): start the service or correct --url`)
  })
  if (response.status !== 201)
    throw new StartError(`${url} does not create a product (${response.status}): set ADMIN_TOKEN`)
  const { data } = (await response.json()) as { data: { id: number } }
  return data.id
}

type Rehearsed = { certificate: Certificate; fault: FaultName | undefined; ready_ms: number }

async function rehearse(
  place: Place,
  options: Options,
  run: number,
  life: Life,
  note: (detail: string) => void,
): Promise<Rehearsed> {
  const { url, stage } = place
  const draw = seeded(options.seed + run)
  const product_id = await createProduct(url, options.units)
  const ledger = createLedger()
  const stop = new AbortController()
  const buyers = Array.from({ length: options.buyers }, (_, at) =>
    buy(ledger, { url, product_id, draw: seeded(options.seed + run * 1_000 + at), stop: stop.signal }),
  )
  note(`${options.buyers} buyers`)
  const half_ms = (options.seconds * 1000) / 2
  await setTimeout(half_ms * (0.5 + draw() / 2), undefined, { signal: life.stopping })
  const fault = stage && options.faults[Math.floor(draw() * options.faults.length)]
  if (fault) {
    note(`${options.buyers} buyers, ${fault}`)
    await stage.inject(fault)
  }
  const ready_ms = await awaitReady(url)
  await setTimeout(half_ms, undefined, { signal: life.stopping })
  note('counting')
  stop.abort()
  await Promise.race([Promise.all(buyers), setTimeout(FINISH_LIMIT_MS)])
  await awaitReady(url)
  return { certificate: await settle(place, product_id, ledger), fault, ready_ms }
}

/** Waits until nothing is on its way any more, then compares. */
async function settle(
  place: Place,
  product_id: number,
  ledger: ReturnType<typeof createLedger>,
): Promise<Certificate> {
  const { STOCK_SHARDS } = readConfig(place.stage ? {} : process.env)
  const nodes = openNodes(place.redis_url)
  await checkNodes(nodes)
  const db = openDb(place.database_url)
  try {
    await checkDb(db)
    const engine = createEngine({ nodes, shards: STOCK_SHARDS, hold_ttl_ms: 1000, order_ttl_ms: 1000 })
    const until_ms = Date.now() + JOURNAL_LIMIT_MS
    while ((await engine.journal.length(engine.shardOfProduct(product_id))) > 0 && Date.now() < until_ms) {
      await setTimeout(JOURNAL_POLL_MS)
    }
    return await certify(ledger, { engine, db, product_id, wait: setTimeout })
  } finally {
    nodes.disconnect()
    await db.close()
  }
}

/** How long the service took to be ready again after each kind of fault, a line each. */
function timesToReady(ready_ms_by_fault: Map<string, number[]>): Array<[what: string, figures: string]> {
  return [...ready_ms_by_fault].sort().map(([fault, times]) => {
    const sorted = times.sort((one, other) => one - other)
    const median = sorted[Math.floor(sorted.length / 2)]
    return [`ready after ${fault}`, `median ${median} ms, at most ${sorted.at(-1)} ms, ${times.length} times`]
  })
}

function print(total: Certificate, ready: Map<string, number[]>, runs: number, seed: number): void {
  const rows = [
    ['runs', runs],
    ['units offered', total.units],
    ['units held', total.held],
    ['units sold', total.sold],
    ['holds refused', total.refused],
    ['operations acknowledged', total.acknowledged],
    ['acknowledged and lost', total.lost.length],
    ['units oversold', total.oversold],
    ['other promises broken', total.broken.length],
    ['seed', seed],
  ] as const
  process.stdout.write('\nCertificate\n')
  for (const [what, count] of rows)
    process.stdout.write(`  ${what.padEnd(26)}${String(count).padStart(10)}\n`)
  for (const [what, figures] of timesToReady(ready))
    process.stdout.write(`  ${what.padEnd(26)}  ${figures}\n`)
  for (const line of [...total.lost, ...total.broken]) process.stdout.write(`  broken: ${line}\n`)
}

runCommand({ is_service: false }, async (life) => {
  const options = readOptions(process.argv.slice(2))
  if (!options) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const place = await openPlace(options, life)
  const total: Certificate = {
    units: 0,
    held: 0,
    sold: 0,
    refused: 0,
    acknowledged: 0,
    lost: [],
    oversold: 0,
    broken: [],
  }
  const ready = new Map<string, number[]>()
  for (let run = 0; run < options.runs; run += 1) {
    const what = `rehearsing, run ${run + 1} of ${options.runs}`
    const rehearsed: Rehearsed = await showProgress(what, (note) => rehearse(place, options, run, life, note))
    const { certificate, fault, ready_ms } = rehearsed
    if (fault) ready.set(fault, [...(ready.get(fault) ?? []), ready_ms])
    const story = fault ? `${fault}: ready again after ${ready_ms} ms` : 'no fault'
    for (const name of ['units', 'held', 'sold', 'refused', 'acknowledged', 'oversold'] as const)
      total[name] += certificate[name]
    total.lost.push(...certificate.lost)
    total.broken.push(...certificate.broken)
    const bad = certificate.lost.length + certificate.oversold + certificate.broken.length
    say(
      `run ${run + 1}: ${story}; ${certificate.acknowledged} acknowledged, ${certificate.sold} of ${certificate.units} sold, ${bad === 0 ? 'all promises kept' : `${bad} PROMISES BROKEN`}`,
    )
  }
  print(total, ready, options.runs, options.seed)
  return total.lost.length + total.oversold + total.broken.length === 0 ? 0 : 1
})
