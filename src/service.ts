import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import type { Config } from './config.ts'
import { checkDb, type Db, openDb } from './db/client.ts'
import { findInstallation } from './db/installation.ts'
import { createMark } from './db/marks.ts'
import { boughtBefore } from './db/products.ts'
import { createEngine, type Engine } from './engine/engine.ts'
import { orderId } from './engine/ids.ts'
import { openNodes } from './engine/nodes.ts'
import type { Entry } from './engine/records.ts'
import { checkNodes } from './engine/settings.ts'
import { StartError } from './errors.ts'
import { createWriter, type Writer } from './journal/writer.ts'
import { createMeters, type Meters } from './metrics/meters.ts'
import { createLookup, type Lookup } from './recovery/load.ts'
import { createRebuilder } from './recovery/rebuilder.ts'
import { createRecovery, type Recovery } from './recovery/recovery.ts'
import { createPublisher, type Publisher } from './recovery/terms.ts'

/** What a log needs to offer here. */
export type Say = Pick<Logger, 'info' | 'warn' | 'error'>

/** As many orders as an operator reads in one line; all are in the list of payments. */
const MAX_ORDERS_TOLD = 10

/** Says in one line a batch which orders have money that has to go back. */
function tellRefunds(entries: Entry[], log: Say): void {
  const due = entries.flatMap(({ payments }) => payments).filter(({ outcome }) => outcome === 'refund_due')
  if (due.length === 0) return
  const refunds = due
    .slice(0, MAX_ORDERS_TOLD)
    .map(({ order_id, reason }) => ({ order_id: orderId(order_id), reason }))
  log.warn({ refunds }, `${due.length} ${due.length === 1 ? 'payment is' : 'payments are'} due for refund`)
}

export type Service = {
  engine: Engine
  db: Db
  writer: Writer
  lookup: Lookup
  publisher: Publisher
  recovery: Recovery
  /** What it counts of its own work. */
  meters: Meters
  /** Writes what is still to be written and closes all connections. */
  close(): Promise<void>
}

/**
 * Connects engine, journal and database, and opens the fence of every shard.
 * @param log hears of closed fences and broken invariants
 * @throws StartError
 */
export async function openService(options: {
  config: Pick<Config, 'STOCK_SHARDS' | 'HOLD_TTL_SECONDS' | 'ORDER_TTL_SECONDS'>
  /** The URL of a Redis, or the address of a cluster. */
  redis_url: string
  database_url: string
  log: Say
  prefix?: string
  /** How many connections to PostgreSQL it may have, but for the one under which it rebuilds a shard. */
  max_connections?: number | undefined
  /** How long a call to Redis or PostgreSQL may take, where it is not as long as every buyer's patience allows. */
  patience_ms?: number | undefined
}): Promise<Service> {
  const { config, redis_url, database_url, log, max_connections, patience_ms } = options
  const nodes = openNodes(redis_url, patience_ms)
  for (const warning of await checkNodes(nodes)) log.warn(warning)
  const meters = createMeters()
  const db = openDb(database_url, { max_connections, patience_ms, on_sql: meters.ranSql })
  let installation: string
  try {
    await checkDb(db)
    installation = await db.use(findInstallation)
  } catch (error) {
    nodes.disconnect()
    await db.close().catch(() => {})
    throw error
  }
  const engine = createEngine({
    nodes,
    installation,
    shards: config.STOCK_SHARDS,
    hold_ttl_ms: config.HOLD_TTL_SECONDS * 1000,
    order_ttl_ms: config.ORDER_TTL_SECONDS * 1000,
    ...(options.prefix === undefined ? {} : { prefix: options.prefix }),
    observer: meters,
    findBought: (buyers, epoch) => db.use((sql) => boughtBefore(sql, buyers, epoch)),
    on_close: (shard, reason) => {
      log.error({ shard }, `shard ${shard}: closed, because ${reason}`)
      void recovery.reopen(shard, reason)
    },
    on_alarm: (message) => {
      meters.foundBroken()
      log.error(message)
    },
  })
  const process_name = randomUUID()
  const marks = {
    writer: createMark(`${process_name} writer`),
    watch: createMark(`${process_name} watch`),
    admin: createMark(`${process_name} admin`),
  }
  const on_past = () => recovery.notePast()
  const writer = createWriter({
    db,
    engine,
    mark: marks.writer,
    on_past,
    on_alarm: (message) => log.error(message),
    on_commit(entries) {
      meters.committed(entries)
      tellRefunds(entries, log)
    },
  })
  const say = (message: string) => log.info(message)
  const rebuilder = createRebuilder({ engine, writer, say, on_rebuilt: meters.rebuilt })
  const recovery = createRecovery({ engine, db, rebuilder, marks, say })

  async function close(): Promise<void> {
    await recovery.close()
    await writer.drained()
    nodes.disconnect()
    await db.close()
  }

  try {
    await recovery.openAll()
  } catch (error) {
    await close().catch(() => {})
    throw error instanceof StartError
      ? error
      : new StartError(`can not open the stock: ${(error as Error).message}`)
  }
  const of = { db, engine }
  return {
    engine,
    db,
    writer,
    meters,
    lookup: createLookup(of),
    publisher: createPublisher({ ...of, mark: marks.admin, marks: Object.values(marks), on_past }),
    recovery,
    close,
  }
}
