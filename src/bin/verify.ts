import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Config, readConfig } from '../config.ts'
import { checkDb, openDb } from '../db/client.ts'
import { findInstallation } from '../db/installation.ts'
import { findLosses } from '../db/write-back.ts'
import type { Servers } from '../embedded/servers.ts'
import { createEngine } from '../engine/engine.ts'
import { openNodes } from '../engine/nodes.ts'
import { checkNodes } from '../engine/settings.ts'
import { StartError } from '../errors.ts'
import { redriveBuried } from '../journal/recovery.ts'
import { showProgress } from '../progress.mjs'
import { type ShardReport, verifyShard } from '../recovery/verify.ts'
import { type Life, runCommand, say } from './lifecycle.ts'
import { openMigrated, openOn } from './open.ts'

const HELP = `npm run verify -- [--repair]

Compares Redis with PostgreSQL and prints each product's stock equation and each difference.
Exit code 0 when they agree, 1 when not.

  --repair  writes entries that were set aside once more, and rebuilds shards that differ
  --help    this text`

const COLUMNS = ['product', 'available', 'held', 'pending', 'sold', 'total', ''] as const

function readArguments(argv: string[]): { repair: boolean; help: boolean } {
  try {
    const options = {
      repair: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    } as const
    return parseArgs({ args: argv, options }).values
  } catch (error) {
    throw new StartError(`${(error as Error).message.split('.')[0]}: see npm run verify -- --help`)
  }
}

/** A line a product, the numbers aligned, then the differences. */
function print(reports: ShardReport[]): void {
  const rows = reports.flatMap(({ products }) =>
    products.map(({ id, name, stock, differences }) => [
      `${id} ${name}`,
      ...(stock
        ? [stock.available, stock.held, stock.pending, stock.sold, stock.total].map(String)
        : ['-', '-', '-', '-', '-']),
      differences.length === 0 ? 'agrees' : 'DIFFERS',
    ]),
  )
  const lines = [[...COLUMNS], ...rows]
  const widths = COLUMNS.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)))
  for (const line of lines) {
    const cells = line.map((cell, at) =>
      at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0),
    )
    process.stdout.write(`${cells.join('  ').trimEnd()}\n`)
  }
  for (const { shard, products, differences } of reports) {
    for (const difference of differences) process.stdout.write(`shard ${shard}: ${difference}\n`)
    for (const product of products) {
      for (const difference of product.differences)
        process.stdout.write(`product ${product.id}: ${difference}\n`)
    }
  }
}

async function verifyAll(servers: Servers, config: Config): Promise<boolean> {
  const nodes = openNodes(servers.redis_url)
  await checkNodes(nodes)
  const db = openDb(servers.database_url)
  try {
    await checkDb(db)
    const ttls = {
      hold_ttl_ms: config.HOLD_TTL_SECONDS * 1000,
      order_ttl_ms: config.ORDER_TTL_SECONDS * 1000,
    }
    const installation = await db.use(findInstallation)
    const engine = createEngine({ nodes, installation, shards: config.STOCK_SHARDS, ...ttls })
    const reports: Array<Awaited<ReturnType<typeof verifyShard>>> = []
    await showProgress('comparing Redis with PostgreSQL', async (note) => {
      for (let shard = 0; shard < engine.shards; shard += 1) {
        note(`shard ${shard + 1} of ${engine.shards}`)
        reports.push(await verifyShard(engine, db, shard, setTimeout))
      }
    })
    print(reports)
    for (const { shard, what, found_at } of await db.use(findLosses)) {
      process.stdout.write(`lost, shard ${shard}, found ${found_at.toISOString()}: ${what}\n`)
    }
    return reports.every(({ is_clean }) => is_clean)
  } finally {
    nodes.disconnect()
    await db.close()
  }
}

/** Writes what was set aside once more, and rebuilds every shard: PostgreSQL is the truth. */
async function repair(servers: Servers, config: Config, life: Life): Promise<void> {
  const { engine, writer, recovery } = await openOn(servers, config, life)
  for (let shard = 0; shard < engine.shards; shard += 1) {
    const { written, refused } = await redriveBuried(engine, writer, shard)
    if (written > 0) say(`shard ${shard}: wrote ${written} entries that had been set aside`)
    for (const reason of refused) say(`shard ${shard}: an entry is still refused: ${reason}`)
    engine.fence.close(shard, 'a repair was asked for', 'wrong')
    await recovery.reopen(shard, 'a repair was asked for')
  }
}

runCommand({ is_service: false }, async (life) => {
  const { repair: is_repair, help } = readArguments(process.argv.slice(2))
  if (help) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const config = readConfig(process.env)
  const servers = await openMigrated(config, life)
  if (await verifyAll(servers, config)) {
    say('Redis and PostgreSQL agree')
    return 0
  }
  if (!is_repair) {
    say('Redis and PostgreSQL differ: npm run verify -- --repair mends it')
    return 1
  }
  await showProgress('repairing', () => repair(servers, config, life))
  const is_clean = await verifyAll(servers, config)
  say(is_clean ? 'repaired: Redis and PostgreSQL agree' : 'some differences could not be mended')
  return is_clean ? 0 : 1
})
