import { readConfig } from '../config.ts'
import { startSweeper } from '../sweeper/sweeper.ts'
import { runCommand, say } from './lifecycle.ts'
import { openMigrated, openOn } from './open.ts'

runCommand({ is_service: true }, async (life) => {
  const config = readConfig(process.env)
  const servers = await openMigrated(config, life)
  const { engine, writer, log } = await openOn(servers, config, life)
  const sweeper = startSweeper({ engine, writer, say: (message) => log.warn(message) })
  life.onStop(() => sweeper.stop())
  say(`sweeping ${engine.shards} ${engine.shards === 1 ? 'shard' : 'shards'}`)
  return undefined
})
