import { parseArgs } from 'node:util'
import { readConfig } from '../config.ts'
import { checkDb, openDb } from '../db/client.ts'
import { findInstallation } from '../db/installation.ts'
import { createEngine } from '../engine/engine.ts'
import { openNodes } from '../engine/nodes.ts'
import { checkNodes } from '../engine/settings.ts'
import { StartError, UnavailableError } from '../errors.ts'
import { createWriter } from '../journal/writer.ts'
import { showProgress } from '../progress.mjs'
import { createMover } from '../recovery/move.ts'
import { createRebuilder } from '../recovery/rebuilder.ts'
import { runCommand, say } from './lifecycle.ts'
import { openMigrated } from './open.ts'

const HELP = `npm run move-product -- --product ID [--product ID ...] --shard N

Moves products to another shard, and so to the server that has it, with their holds and unpaid orders, while they are
sold. Both shards answer 503 for a moment. Products of one shelf, and those that share carts, move together.

  --product  the id of a product
  --shard    where it is to live: 0 to STOCK_SHARDS - 1
  --help     this text`

/** A step on a large shard takes long, and nobody waits for this command. */
const PATIENCE_MS = 10_000

function readArguments(argv: string[]): { product_ids: number[]; shard: number } | undefined {
  const options = {
    product: { type: 'string', multiple: true, default: [] as string[] },
    shard: { type: 'string', default: '' },
    help: { type: 'boolean', default: false },
  } as const
  try {
    const { product, shard, help } = parseArgs({ args: argv, options }).values
    if (help) return undefined
    const are_ids = product.length > 0 && product.every((id) => /^[1-9]\d{0,14}$/.test(id))
    if (!are_ids || !/^\d{1,4}$/.test(shard)) throw new Error('it takes a product and a shard')
    return { product_ids: [...new Set(product.map(Number))], shard: Number(shard) }
  } catch (error) {
    throw new StartError(`${(error as Error).message.split('.')[0]}: see npm run move-product -- --help`)
  }
}

/** A server that does not answer is nobody's mistake, and a move that broke off can be run again. */
function sayBroken(error: Error): never {
  if (error instanceof UnavailableError) throw new StartError(`it broke off, run it again: ${error.message}`)
  throw error
}

runCommand({ is_service: false }, async (life) => {
  const asked = readArguments(process.argv.slice(2))
  if (!asked) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const { product_ids, shard } = asked
  const config = readConfig(process.env)
  const servers = await openMigrated(config, life)
  const nodes = openNodes(servers.redis_url, PATIENCE_MS)
  life.onStop(async () => nodes.disconnect())
  await checkNodes(nodes)
  const db = openDb(servers.database_url, { patience_ms: PATIENCE_MS })
  life.onStop(() => db.close())
  await checkDb(db)
  const engine = createEngine({
    nodes,
    installation: await db.use(findInstallation),
    shards: config.STOCK_SHARDS,
    hold_ttl_ms: config.HOLD_TTL_SECONDS * 1000,
    order_ttl_ms: config.ORDER_TTL_SECONDS * 1000,
  })
  const writer = createWriter({ db, engine, on_alarm: say })
  const rebuilder = createRebuilder({ engine, writer, say })
  const { move } = createMover({ engine, db, rebuilder })
  const { from, holds, orders } = await showProgress('moving', () =>
    move(product_ids, shard).catch(sayBroken),
  )
  const what = `${product_ids.length === 1 ? 'product' : 'products'} ${product_ids.join(', ')}`
  say(
    from === shard
      ? `shard ${shard} has ${what} already`
      : `moved ${what} from shard ${from} to ${shard}: ${holds} holds, ${orders} unpaid orders`,
  )
  return 0
})
