import { readConfig } from '../config.ts'
import { startSweeper } from '../sweeper/sweeper.ts'
import { runCommand, say } from './lifecycle.ts'
import { openMigrated, openOn } from './open.ts'

runCommand({ is_service: true }, async (life) => {
  const config = readConfig(process.env)
  const servers = await openMigrated(config, life)
  const service = await openOn(servers, config, life)
  const { log, engine } = service
  const sweeper = startSweeper({ ...service, say: (message) => log.warn(message) })
  life.onStop(() => sweeper.stop())
  log.info({ shards: engine.shards }, 'started')
  life.stopping.addEventListener('abort', () => log.info('stopping'), { once: true })
  say(`sweeping ${engine.shards} ${engine.shards === 1 ? 'shard' : 'shards'}`)
  return undefined
})
