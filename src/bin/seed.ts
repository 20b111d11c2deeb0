import { readConfig } from '../config.ts'
import { ensureProduct } from '../db/seed.ts'
import { runCommand, say } from './lifecycle.ts'
import { openMigrated } from './open.ts'

runCommand({ is_service: false }, async (life) => {
  const config = readConfig(process.env)
  const servers = await openMigrated(config, life)
  const is_new = await ensureProduct(servers.database_url, config.STOCK_SHARDS)
  say(is_new ? 'created product 1 with 100 units' : 'there are products already, nothing to do')
  return 0
})
