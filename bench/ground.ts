import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { createEngine, type Engine } from '../src/engine/engine.ts'
import { parseEpoch } from '../src/engine/epochs.ts'
import { createKeys } from '../src/engine/keys.ts'
import { oneNode } from '../src/engine/nodes.ts'
import { UnavailableError } from '../src/errors.ts'
import { type ShardReport, verifyShard } from '../src/recovery/verify.ts'
import { naiveProduct, naiveStock } from './baselines/naive.ts'
import { resetBaselineTables } from './baselines/tables.ts'
import { awaitReady, type Stage } from './stage.ts'

const PLENTY_UNITS = 1_000_000_000
/** No hold of a measurement ends during it, except where that is what is measured. */
const TTL_SECONDS = 86_400
const SHARD = 0
/** Products by what they are for. The holds of some do not end; those of others do when the engine that places them says. */
const LASTING = { hold_ttl_seconds: TTL_SECONDS }
const PRODUCTS = {
  plenty: { name: 'Plenty', total_stock: PLENTY_UNITS, ...LASTING },
  sold_out: { name: 'Sold out', total_stock: 1, ...LASTING },
  all_held: { name: 'All held', total_stock: 1, ...LASTING },
  cliff: { name: 'Cliff', total_stock: PLENTY_UNITS },
  unpaid: { name: 'Unpaid', total_stock: PLENTY_UNITS },
  prepaid: { name: 'Prepaid', total_stock: PLENTY_UNITS },
}
const AT_ONCE = 512
const POLL_MS = 10
const MAX_TRIES = 20
const RETRY_MS = 500
const JOURNAL_LIMIT_MS = 20_000

export type Products = Record<keyof typeof PRODUCTS, number>
export type Ground = Awaited<ReturnType<typeof openGround>>
type Hold = { hold_id: string; order_id: string }

/** Again and again while the answer is that it can not be had at this moment; on a machine that is busy with else, it may be. */
async function patiently<Result>(
  step: () => Promise<Result>,
  isRefused: (result: Result) => boolean,
): Promise<Result> {
  for (let tries = 1; ; tries += 1) {
    const result = await step()
    if (!isRefused(result) || tries === MAX_TRIES) return result
    await wait(RETRY_MS)
  }
}

/** A request of the preparation. Sent again, it has one effect. */
async function send(url: string, body: object): Promise<{ status: number; text: string }> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': randomUUID() }
  return patiently(
    async () => {
      const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
      return { status: response.status, text: await response.text() }
    },
    ({ status }) => status === 503,
  )
}

async function post<Answer>(url: string, body: object): Promise<Answer> {
  const { status, text } = await send(url, body)
  if (status >= 300) throw new Error(`POST ${new URL(url).pathname} answers ${status}: ${text}`)
  return (JSON.parse(text) as { data: Answer }).data
}

async function createProducts(url: string): Promise<Products> {
  const made: Array<[string, number]> = []
  for (const [use, terms] of Object.entries(PRODUCTS)) {
    const body = { ...terms, unit_amount: 9900, currency: 'USD' }
    made.push([use, (await post<{ id: number }>(`${url}/api/products`, body)).id])
  }
  return Object.fromEntries(made) as Products
}

function unlessAway(error: Error): undefined {
  if (!(error instanceof UnavailableError)) throw error
}

/** A storm is worth nothing if it is not refused for the reason that it is about. */
async function expectRefusal(url: string, product_id: number, reason: string): Promise<void> {
  const { status, text } = await send(`${url}/api/holds`, { product_id, qty: 1 })
  const answer = JSON.parse(text) as { reason?: string }
  if (status === 409 && answer.reason === reason) return
  throw new Error(`product ${product_id} should be refused as ${reason}, not ${JSON.stringify(answer)}`)
}

/**
 * The state that the arms work on: four products, and an engine to prepare holds with. `reset` checks the books, then puts
 * everything back to the beginning, so that no arm pays for what the ones before it left.
 */
export async function openGround(stage: Stage, unit_rows: number) {
  const { redis, sql, db, service, stopping } = stage
  const products = await createProducts(service.url)
  let checks = 0
  const failures: string[] = []

  /** An engine beside the one of the service. Holds of products that do not say end after `hold_ttl_ms`. */
  async function openEngine(
    hold_ttl_ms = TTL_SECONDS * 1000,
    order_ttl_ms = TTL_SECONDS * 1000,
  ): Promise<Engine> {
    const { epoch, installation } = parseEpoch(await redis.get(createKeys('hf').shard(SHARD, 'epoch')))
    const engine = createEngine({
      nodes: oneNode(redis),
      installation,
      shards: 1,
      hold_ttl_ms,
      order_ttl_ms,
    })
    engine.fence.open(SHARD, epoch)
    for (const id of Object.values(products)) engine.knowProduct(id, SHARD, null)
    return engine
  }

  /** Places holds of one unit; answers their ids. */
  async function placeHolds(engine: Engine, product_id: number, count: number): Promise<string[]> {
    const ids: string[] = []
    const place = async () => {
      const items = [{ product_id, qty: 1 }]
      // One that was placed though its answer got lost is a hold more, which does no harm.
      const result = await patiently(
        () => engine.placeHold({ items, customer_id: null, idem: null }).catch(unlessAway),
        (placed) => placed === undefined,
      )
      if (!result || !('hold' in result)) throw new Error(`no hold: ${result?.status ?? 'unavailable'}`)
      return result.hold.id
    }
    while (ids.length < count) {
      stopping.throwIfAborted()
      ids.push(
        ...(await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - ids.length) }, () => place()))),
      )
    }
    return ids
  }

  /** Waits until PostgreSQL has everything, for `limit_ms` at most; whether it does. */
  async function isWritten(limit_ms: number): Promise<boolean> {
    const engine = await openEngine()
    const until_ms = Date.now() + limit_ms
    while ((await engine.journal.length(SHARD)) > 0) {
      if (Date.now() > until_ms) return false
      await wait(POLL_MS)
    }
    return true
  }

  /** Compares Redis with PostgreSQL. What differs is remembered for the report. */
  async function check(): Promise<ShardReport> {
    const engine = await openEngine()
    await isWritten(JOURNAL_LIMIT_MS)
    const report = await verifyShard(engine, db, SHARD, wait)
    checks += 1
    const found = report.products.flatMap(({ id, differences }) =>
      differences.map((difference) => `product ${id}: ${difference}`),
    )
    if (!report.is_clean) failures.push(...report.differences, ...found)
    return report
  }

  async function rewriteLog(): Promise<void> {
    await redis.call('BGREWRITEAOF')
    while (/aof_rewrite_(in_progress|scheduled):1/.test(await redis.info('persistence'))) await wait(POLL_MS)
  }

  async function reset(): Promise<void> {
    await check()
    await sql.query('truncate public.orders, public.order_items, public.payments')
    await sql.query('update public.products set committed = 0')
    await resetBaselineTables(sql, products.plenty, unit_rows)
    await redis.flushall()
    await awaitReady(service.url, service, stopping)
    await redis.hset(naiveProduct(products.plenty), naiveStock(PLENTY_UNITS))
    const hold = { product_id: products.sold_out, qty: 1 }
    const { hold_id, order_id } = await post<Hold>(`${service.url}/api/holds`, hold)
    await post(`${service.url}/api/orders`, { hold_id })
    await post(`${service.url}/api/payments/webhook`, { order_id, status: 'success' })
    await post(`${service.url}/api/holds`, { product_id: products.all_held, qty: 1 })
    await expectRefusal(service.url, products.sold_out, 'sold_out')
    await expectRefusal(service.url, products.all_held, 'all_held')
    await rewriteLog()
  }

  return {
    products,
    openEngine,
    placeHolds,
    isWritten,
    check,
    reset,
    /** How often the books were compared, and what was found. */
    books: () => ({ checks, failures: [...failures] }),
  }
}
