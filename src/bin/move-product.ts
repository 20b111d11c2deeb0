import { parseArgs } from 'node:util'
import { readConfig } from '../config.ts'
import { checkDb, openDb } from '../db/client.ts'
import { findProducts, productsOfShard } from '../db/products.ts'
import { moveShard } from '../engine/move.ts'
import { openNodes } from '../engine/nodes.ts'
import { checkNodes } from '../engine/settings.ts'
import { StartError } from '../errors.ts'
import { showProgress } from '../progress.mjs'
import { runCommand, say } from './lifecycle.ts'
import { openMigrated } from './open.ts'

const HELP = `npm run move-product -- --product ID --to HOST:PORT

Moves the shard of a product, with its holds and orders, to another master of the Redis Cluster, while it is sold.
Every product of that shard goes along. Until the move is over they answer 503. Run again what broke off.

  --product  the id of the product
  --to       host and port of a master, as CLUSTER SLOTS names it
  --help     this text`

/** A step that moves large keys takes long, and nobody waits for this command. */
const PATIENCE_MS = 10_000

function readArguments(argv: string[]): { product: number; to: string } | undefined {
  const options = {
    product: { type: 'string', default: '' },
    to: { type: 'string', default: '' },
    help: { type: 'boolean', default: false },
  } as const
  try {
    const { product, to, help } = parseArgs({ args: argv, options }).values
    if (help) return undefined
    if (!/^[1-9]\d{0,14}$/.test(product) || to === '') throw new Error('it takes a product and a master')
    return { product: Number(product), to }
  } catch (error) {
    throw new StartError(`${(error as Error).message.split('.')[0]}: see npm run move-product -- --help`)
  }
}

runCommand({ is_service: false }, async (life) => {
  const asked = readArguments(process.argv.slice(2))
  if (!asked) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const { product, to } = asked
  const servers = await openMigrated(readConfig(process.env), life)
  const nodes = openNodes(servers.redis_url, PATIENCE_MS)
  life.onStop(async () => nodes.disconnect())
  await checkNodes(nodes)
  const db = openDb(servers.database_url)
  life.onStop(() => db.close())
  await checkDb(db)
  const [found] = await db.use((sql) => findProducts(sql, [product]))
  if (!found) throw new StartError(`there is no product ${product}`)
  const { shard } = found
  const ids = (await db.use((sql) => productsOfShard(sql, shard))).map(({ id }) => id)
  const { from, keys } = await showProgress(`moving shard ${shard}`, () => moveShard(nodes, shard, to))
  const what = `shard ${shard} with ${ids.length === 1 ? 'product' : 'products'} ${ids.join(', ')}`
  say(from === to ? `${what} is at ${to} already` : `moved ${what}, ${keys} keys, from ${from} to ${to}`)
  return 0
})
