import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { migrateDb } from '../db/migrate.ts'
import { openServers, type Servers } from '../embedded/servers.ts'
import { clusterAddress } from '../engine/nodes.ts'
import { createLog } from '../log.ts'
import { showProgress } from '../progress.mjs'
import { openService, type Service } from '../service.ts'
import { type Life, say } from './lifecycle.ts'

const redisAddress = ({ REDIS_URL, REDIS_CLUSTER_NODES }: Config) =>
  REDIS_CLUSTER_NODES === undefined ? REDIS_URL : clusterAddress(REDIS_CLUSTER_NODES)

/** Opens the servers that the configuration names, or the embedded ones of DATA_DIR, and migrates the database. */
export async function openMigrated(config: Config, life: Life): Promise<Servers> {
  const servers = await openServers({
    data_dir: config.DATA_DIR,
    redis_url: redisAddress(config),
    database_url: config.DATABASE_URL,
    stopping: life.stopping,
    say,
  })
  life.onStop(() => servers.close())
  life.stopping.throwIfAborted()
  await showProgress('migrating the database', (note) => migrateDb(servers.database_url, { note }))
  life.stopping.throwIfAborted()
  return servers
}

/** Opens engine, journal and database on these servers. */
export async function openOn(
  servers: Pick<Servers, 'redis_url' | 'database_url'>,
  config: Config,
  life: Life,
  max_connections?: number,
): Promise<Service & { log: Logger }> {
  const log = createLog(config.LOG_LEVEL)
  const service = await openService({
    config,
    redis_url: servers.redis_url,
    database_url: servers.database_url,
    log,
    max_connections,
  })
  life.onStop(() => service.close())
  life.stopping.throwIfAborted()
  return { ...service, log }
}
