import { cpus, platform, release, totalmem } from 'node:os'
import type { Stage } from '../stage.ts'

/** What it was measured on, a line each. */
export async function readMachine({ redis, sql }: Pick<Stage, 'redis' | 'sql'>): Promise<string[]> {
  const found = cpus()
  const info = await redis.info('server')
  const version = /^(?:valkey_version|redis_version):(\S+)/m.exec(info)?.[1]
  const { rows } = await sql.query<{ server_version: string }>('show server_version')
  return [
    `${found.length} cores (${found[0]?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GB, ${platform()} ${release()}`,
    `Node ${process.version}, Redis ${version} (AOF everysec), PostgreSQL ${rows[0]?.server_version} (fsync on)`,
    'Load generator, servers and stores on this one machine, over loopback',
  ]
}
