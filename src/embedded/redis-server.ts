import { execFile } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

/** The Lua scripts begin with `#!lua`, which Redis knows from version 7 on. */
export const REDIS_MIN_VERSION = 7

const NAMES = ['redis-server', 'valkey-server']
/** Where package managers put servers; not always on the PATH of a shell, or of npm. */
const FOLDERS = [
  '/usr/local/bin',
  '/usr/bin',
  '/usr/sbin',
  '/opt/homebrew/bin',
  '/home/linuxbrew/.linuxbrew/bin',
]

/** A Redis or Valkey server program of this machine. `version` is "7.0.15", or '' when it does not say. */
export type RedisServer = { path: string; version: string; is_recent_enough: boolean }

/**
 * Finds a Redis or Valkey server on PATH and in the usual folders: the first that is recent enough, else the first,
 * else undefined.
 */
export async function findRedisServer(): Promise<RedisServer | undefined> {
  let first: RedisServer | undefined
  for (const folder of new Set([...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...FOLDERS])) {
    for (const name of NAMES) {
      const path = join(folder, name)
      if (!(await isExecutable(path))) continue
      const found = await readVersion(path)
      if (found.is_recent_enough) return found
      first ??= found
    }
  }
  return first
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

async function readVersion(path: string): Promise<RedisServer> {
  const { stdout } = await promisify(execFile)(path, ['--version']).catch(() => ({ stdout: '' }))
  const version = /\bv=(\d[\w.]*)/.exec(stdout)?.[1] ?? ''
  return { path, version, is_recent_enough: Number.parseInt(version, 10) >= REDIS_MIN_VERSION }
}
