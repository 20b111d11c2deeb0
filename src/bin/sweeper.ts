import { readConfig } from '../config.ts'
import { startSweeper } from '../sweeper/sweeper.ts'
import { runCommand, say } from './lifecycle.ts'
import { openMigrated, openOn } from './open.ts'

runCommand({ is_service: true }, async (life) => {
  const config = readConfig(process.env)
  const servers = await openMigrated(config, life)
  const { log, ...service } = await openOn(servers, config, life)
  const sweeper = startSweeper({ ...service, say: (message) => log.warn(message) })
  life.onStop(() => sweeper.stop())
  say(`sweeping ${service.engine.shards} ${service.engine.shards === 1 ? 'shard' : 'shards'}`)
  return undefined
})
