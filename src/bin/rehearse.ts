import { setMaxListeners } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { readConfig } from '../config.ts'
import { checkDb, openDb } from '../db/client.ts'
import { findInstallation } from '../db/installation.ts'
import { orderIdsUnpaid } from '../db/orders.ts'
import { createEngine } from '../engine/engine.ts'
import { openNodes } from '../engine/nodes.ts'
import { checkNodes } from '../engine/settings.ts'
import { StartError } from '../errors.ts'
import { showProgress } from '../progress.mjs'
import { type Draw, seeded } from '../random.ts'
import { buy } from '../rehearsal/buyers.ts'
import { type Certificate, certify, countBroken } from '../rehearsal/certificate.ts'
import { nowMs } from '../rehearsal/histories/calls.ts'
import { addChecked, type Checked, checkHistories, nothingChecked } from '../rehearsal/histories/check.ts'
import { createLedger, type Ledger } from '../rehearsal/ledger.ts'
import { look, lookBack } from '../rehearsal/onlooker.ts'
import { HELP, type Options, readOptions } from '../rehearsal/options.ts'
import { addRun, createTotal, formatReport } from '../rehearsal/report.ts'
import { awaitReady, type FaultName, LOSES_HOLDS, openStage, type Stage } from '../rehearsal/stage.ts'
import { restock } from '../rehearsal/stockroom.ts'
import { type Life, runCommand, say } from './lifecycle.ts'
import { openMigrated } from './open.ts'

/** Long enough for a buyer who does not dawdle. */
const HOLD_TTL_SECONDS = 2
/** A payment and an order wait for PostgreSQL this often at most before a hold may run out; retries are a part of it. */
const SLOW_REPLIES = 10
/** Two, so that changes of stock meet each other. */
const STOCKROOMS = 2
const ONLOOKERS = 2
/** Clocks of one machine, read in two ways; and those of several. */
const OWN_CLOCK_SLACK_MS = 50
const FOREIGN_CLOCK_SLACK_MS = 1_000
/** Buyers who insist on an answer get this long to get it. */
const FINISH_LIMIT_MS = 30_000
const SETTLE_LIMIT_MS = 20_000
const CREATE_LIMIT_MS = 15_000
const SETTLE_POLL_MS = 50

type Place = { urls: string[]; redis_url: string; database_url: string; stage: Stage | undefined }
type Run = {
  place: Place
  options: Options
  run: number
  life: Life
  /** Says beside the progress what the run is at. */
  note: (detail: string) => void
}

async function openPlace(options: Options, life: Life): Promise<Place> {
  const { url, services, slow_redis, slow_postgres, order_ttl_seconds } = options
  if (url === undefined) {
    say('starting an installation of its own')
    const apis = services === 1 ? 'the API' : `${services} processes of the API`
    const stage = await showProgress(`starting Redis, PostgreSQL and ${apis}`, () =>
      openStage({ services, slow_redis, slow_postgres, order_ttl_seconds, stopping: life.stopping }),
    )
    life.onStop(() => stage.close())
    return { ...stage, stage }
  }
  const servers = await openMigrated(readConfig(process.env), life)
  return { ...servers, urls: [url.replace(/\/$/, '')], stage: undefined }
}

/** How long holds live: longer where replies are late. */
function holdTtlSeconds({ slow_redis, slow_postgres }: Options): number {
  const late_ms = Math.max(slow_redis?.max_ms ?? 0, slow_postgres?.max_ms ?? 0)
  return HOLD_TTL_SECONDS + Math.ceil((late_ms * SLOW_REPLIES) / 1000)
}

async function createProduct({ urls: [url] }: Place, options: Options, life: Life): Promise<number> {
  const token = process.env.ADMIN_TOKEN
  const content = {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) },
    body: JSON.stringify({
      name: 'Rehearsal',
      unit_amount: 100,
      currency: 'USD',
      total_stock: options.units,
      hold_ttl_seconds: holdTtlSeconds(options),
    }),
  }
  const ask = () =>
    fetch(`${url}/api/products`, content).catch((error: Error) => {
      throw new StartError(`${url} does not answer (${error.message}): start the service or correct --url`)
    })
  const until_ms = Date.now() + CREATE_LIMIT_MS
  let response = await ask()
  // Behind the faults of the run before, the service may need a moment.
  while (response.status === 503 && Date.now() < until_ms) {
    await setTimeout(SETTLE_POLL_MS, undefined, { signal: life.stopping })
    response = await ask()
  }
  if (response.status !== 201)
    throw new StartError(`${url} does not create a product (${response.status}): set ADMIN_TOKEN`)
  const { data } = (await response.json()) as { data: { id: number } }
  return data.id
}

/** Lets buyers, stockrooms and onlookers in. Resolves when all of them have gone, which they do when `stop` is aborted. */
function open(ledger: Ledger, { place, options, run }: Run, product_id: number, stop: AbortSignal) {
  const { urls, stage } = place
  // A service of somebody else may have the token of its admin; an installation of its own has none.
  const token = stage ? undefined : process.env.ADMIN_TOKEN
  const drawOf = (at: number) => seeded(options.seed + run * 1_000 + at)
  const order_ttl_ms = options.order_ttl_seconds * 1000
  const buyers = Array.from({ length: options.buyers }, (_, at) =>
    buy(ledger, { urls, product_id, draw: drawOf(at), order_ttl_ms, stop }),
  )
  const stockrooms = Array.from({ length: STOCKROOMS }, (_, at) =>
    restock(ledger, { urls, product_id, token, draw: drawOf(options.buyers + at), stop }),
  )
  const onlookers = Array.from({ length: ONLOOKERS }, (_, at) =>
    look(ledger, { urls, product_id, draw: drawOf(options.buyers + STOCKROOMS + at), stop }),
  )
  return Promise.all([...buyers, ...stockrooms, ...onlookers])
}

/** Injects a fault and waits until all are ready again. Returns how long they were not, once the fault was lifted, in ms. */
async function breakPart(stage: Stage, fault: FaultName, draw: Draw, ledger: Ledger, stopping: AbortSignal) {
  const loses_holds = LOSES_HOLDS.includes(fault)
  const loss = { began_ms: nowMs(), ended_ms: Number.POSITIVE_INFINITY }
  if (loses_holds) {
    ledger.redis_lost_until_ms = Number.POSITIVE_INFINITY
    ledger.losses.push(loss)
  }
  await stage.inject(fault, draw)
  const ready_ms = await awaitReady(stage.urls, stopping)
  if (loses_holds) ledger.redis_lost_until_ms = Date.now()
  loss.ended_ms = nowMs()
  return ready_ms
}

/** Waits for something, but not longer than that. */
async function atMost(limit_ms: number, work: Promise<unknown>, stopping: AbortSignal): Promise<void> {
  const done = new AbortController()
  const signal = AbortSignal.any([stopping, done.signal])
  await Promise.race([work, setTimeout(limit_ms, undefined, { signal })]).finally(() => done.abort())
}

type Rehearsed = {
  certificate: Certificate
  checked: Checked
  fault: FaultName | undefined
  ready_ms: number
}

async function rehearse(of: Run): Promise<Rehearsed> {
  const { place, options, run, life, note } = of
  const { urls, stage } = place
  const draw = seeded(options.seed + run)
  const pause = (ms: number) => setTimeout(ms, undefined, { signal: life.stopping })
  const product_id = await createProduct(place, options, life)
  const ledger = createLedger()
  const stop = new AbortController()
  // Every buyer who waits listens to it.
  setMaxListeners(0, stop.signal)
  try {
    stage?.slow(draw)
    const gone = open(ledger, of, product_id, stop.signal)
    const slow = [options.slow_redis && ', a slow Redis', options.slow_postgres && ', a slow PostgreSQL']
    const scene = `${options.buyers} buyers${slow.filter(Boolean).join('')}`
    note(scene)
    const half_ms = (options.seconds * 1000) / 2
    await pause(half_ms * (0.5 + draw() / 2))
    const fault = stage && options.faults[Math.floor(draw() * options.faults.length)]
    if (fault) note(`${scene}, ${fault}`)
    const ready_ms = fault ? await breakPart(stage, fault, draw, ledger, life.stopping) : 0
    stage?.slow(draw)
    await pause(half_ms)
    note('counting')
    stop.abort()
    stage?.straight()
    await atMost(FINISH_LIMIT_MS, gone, life.stopping)
    await awaitReady(urls, life.stopping)
    const certificate = await settle(of, product_id, ledger)
    note('looking for an order of all calls')
    const checked = checkHistories({
      product_id,
      total: options.units,
      hold_ttl_ms: holdTtlSeconds(options) * 1000,
      order_ttl_ms: options.order_ttl_seconds * 1000,
      clock_slack_ms: stage ? OWN_CLOCK_SLACK_MS : FOREIGN_CLOCK_SLACK_MS,
      calls: ledger.calls,
      losses: ledger.losses,
    })
    return { certificate, checked, fault, ready_ms }
  } finally {
    stop.abort()
  }
}

/** Waits until nothing is on its way any more, then compares. */
async function settle(
  { place, options, life }: Run,
  product_id: number,
  ledger: Ledger,
): Promise<Certificate> {
  const { STOCK_SHARDS } = readConfig(place.stage ? {} : process.env)
  const wait = (ms: number) => setTimeout(ms, undefined, { signal: life.stopping })
  const nodes = openNodes(place.redis_url)
  await checkNodes(nodes)
  const db = openDb(place.database_url)
  try {
    await checkDb(db)
    const installation = await db.use(findInstallation)
    const ttls = { hold_ttl_ms: 1000, order_ttl_ms: 1000 }
    const engine = createEngine({ nodes, installation, shards: STOCK_SHARDS, ...ttls })
    const shard = engine.shardOfProduct(product_id)
    // On a stage unpaid orders run out within seconds; while they do, Redis is a moment ahead of PostgreSQL.
    const countUnpaid = async () =>
      place.stage ? (await db.use((sql) => orderIdsUnpaid(sql, shard))).length : 0
    const until_ms = Date.now() + SETTLE_LIMIT_MS
    while ((await countUnpaid()) > 0 || (await engine.journal.length(shard)) > 0) {
      if (Date.now() > until_ms) {
        // The journal of a running service may be busy with the sales of others.
        if (place.stage) ledger.surprises.push('unpaid orders or entries of the journal stay for ever')
        break
      }
      await wait(SETTLE_POLL_MS)
    }
    await lookBack(ledger, { urls: place.urls, product_id, draw: seeded(options.seed) })
    return await certify(ledger, { engine, db, product_id, wait })
  } finally {
    nodes.disconnect()
    await db.close()
  }
}

runCommand({ is_service: false }, async (life) => {
  const options = readOptions(process.argv.slice(2))
  if (!options) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const place = await openPlace(options, life)
  const total = createTotal()
  const histories = nothingChecked()
  const ready = new Map<string, number[]>()
  for (let run = 0; run < options.runs; run += 1) {
    const what = `rehearsing, run ${run + 1} of ${options.runs}`
    const rehearsed: Rehearsed = await showProgress(what, (note) =>
      rehearse({ place, options, run, life, note }),
    )
    const { certificate, checked, fault, ready_ms } = rehearsed
    if (fault) ready.set(fault, [...(ready.get(fault) ?? []), ready_ms])
    const story = fault ? `${fault}: ready again after ${ready_ms} ms` : 'no fault'
    addRun(total, run + 1, certificate)
    addChecked(histories, run + 1, checked)
    const bad = countBroken(certificate) + checked.unexplained.length
    const verdict = bad === 0 ? 'all promises kept' : `${bad} PROMISES BROKEN`
    const { acknowledged, sold, units } = certificate
    say(`run ${run + 1}: ${story}; ${acknowledged} acknowledged, ${sold} of ${units} sold, ${verdict}`)
  }
  process.stdout.write(formatReport(total, histories, ready, options))
  return countBroken(total) + histories.unexplained.length === 0 ? 0 : 1
})
