import { randomBytes } from 'node:crypto'
import { access, constants, mkdir, readFile, realpath, stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { StartError } from '../errors.ts'
import { askPostgres, databaseUrl, startPostgres, stopLeftoverPostgres, stopPostgres } from './postgres.ts'
import { askRedis, startRedis, stopLeftoverRedis, stopRedis } from './redis.ts'
import { type Ownership, readLive, type ServerState, type State, takeOwnership } from './state.ts'

/** Where Redis and PostgreSQL are. `close()` stops, within 6 s, what this process started, and nothing else. */
export type Servers = { redis_url: string; database_url: string; close(): Promise<void> }

export type ServersOptions = {
  data_dir: string
  redis_url?: string | undefined
  database_url?: string | undefined
  /** Told, a line at a time, what takes long or surprises. */
  say: (line: string) => void
  /** When it aborts, a start that still waits is given up, and ended again, with its reason. */
  stopping?: AbortSignal
  /** For tests: a database that is being made does not wait for the disk. */
  is_throw_away?: boolean
}

/** How long a second process waits for the one that is starting or stopping the servers of the same DATA_DIR. */
const ATTACH_WAIT_MS = 75_000
const ATTACH_POLL_MS = 50

/**
 * Opens what `redis_url` and `database_url` leave unset: attaches to the running embedded servers of this DATA_DIR, or
 * starts them. Throws StartError, after stopping whatever it started, when that cannot be.
 */
export async function openServers(options: ServersOptions): Promise<Servers> {
  const { redis_url, database_url } = options
  if (redis_url !== undefined && database_url !== undefined) {
    return { redis_url, database_url, close: async () => undefined }
  }
  const data_dir = await openFolder(options.data_dir)
  const until_ms = Date.now() + ATTACH_WAIT_MS
  try {
    for (;;) {
      const ownership = await takeOwnership(data_dir)
      if (ownership) return await startAsOwner(ownership, data_dir, options)
      const state = await readLive(data_dir)
      const attached = state?.is_ready ? await attach(state, data_dir, options) : undefined
      if (attached) return attached
      if (Date.now() > until_ms) {
        throw new StartError(
          `process ${state?.owner?.pid} has the servers of ${data_dir}, but they do not answer: stop that process, then start again`,
        )
      }
      options.stopping?.throwIfAborted()
      await wait(ATTACH_POLL_MS)
    }
  } catch (error) {
    throw error instanceof StartError ? error : folderError(data_dir, error)
  }
}

/** Ends the servers that a killed process left behind on this DATA_DIR. False, and nothing ended, while their owner lives. */
export async function stopLeftovers(data_dir: string): Promise<boolean> {
  const ownership = await takeOwnership(data_dir)
  if (!ownership) return false
  await stopBoth(ownership.before, data_dir)
  await ownership.release()
  return true
}

async function stopBoth(before: State | undefined, data_dir: string): Promise<void> {
  const password = await readPassword(data_dir)
  await Promise.all([
    stopLeftoverRedis(data_dir, password, before?.redis),
    stopLeftoverPostgres(data_dir, password, before?.postgres),
  ])
}

async function startAsOwner(
  ownership: Ownership,
  data_dir: string,
  options: ServersOptions,
): Promise<Servers> {
  const { say, stopping, is_throw_away = false } = options
  const running: Pick<State, 'redis' | 'postgres'> = {}
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= closeOwned(running, ownership)
    return closing
  }
  const note = (name: 'redis' | 'postgres') => async (server: ServerState) => {
    running[name] = server
    await ownership.record({ ...running, is_ready: false })
  }
  try {
    await stopBoth(ownership.before, data_dir)
    const password = await readPassword(data_dir)
    const started = await Promise.allSettled([
      options.redis_url === undefined &&
        startRedis({ data_dir, password, stopping, onStarted: note('redis') }),
      options.database_url === undefined &&
        startPostgres({ data_dir, password, is_throw_away, say, stopping, onStarted: note('postgres') }),
    ])
    for (const result of started) if (result.status === 'rejected') throw result.reason
    await ownership.record({ ...running, is_ready: true })
    return { ...urls(running, password, options), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function closeOwned(running: Pick<State, 'redis' | 'postgres'>, ownership: Ownership): Promise<void> {
  const { redis, postgres } = running
  await Promise.all([redis?.id && stopRedis(redis.id), postgres?.id && stopPostgres(postgres.id)])
  // The folder may have been deleted meanwhile; then there is nothing to give back.
  await ownership.release().catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}

/** Undefined when a server that is recorded as ready does not answer. Throws StartError when one is not run at all. */
async function attach(state: State, data_dir: string, options: ServersOptions): Promise<Servers | undefined> {
  const { redis, postgres, owner } = state
  const needed = [
    { name: 'Redis', variable: 'REDIS_URL', url: options.redis_url, server: redis, ask: askRedis },
    {
      name: 'PostgreSQL',
      variable: 'DATABASE_URL',
      url: options.database_url,
      server: postgres,
      ask: askPostgres,
    },
  ]
  const password = await readPassword(data_dir)
  for (const { name, variable, url, server, ask } of needed) {
    if (url !== undefined) continue
    if (!server) {
      throw new StartError(
        `process ${owner?.pid}, which has ${data_dir}, runs no ${name} there: set ${variable} as it was set for that process`,
      )
    }
    const pid = await ask(server.port, password).catch(() => undefined)
    if (pid === undefined || pid !== server.id?.pid) return undefined
  }
  return { ...urls({ redis, postgres }, password, options), close: async () => undefined }
}

function urls(
  running: { redis?: ServerState | undefined; postgres?: ServerState | undefined },
  password: string,
  options: ServersOptions,
): { redis_url: string; database_url: string } {
  return {
    redis_url: options.redis_url ?? `redis://:${password}@127.0.0.1:${running.redis?.port}`,
    database_url: options.database_url ?? databaseUrl(running.postgres?.port ?? 0, password),
  }
}

/** Makes the folder if it is missing and returns its real path. Throws StartError when it cannot be written to. */
async function openFolder(path: string): Promise<string> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK)
    return await realpath(path)
  } catch (error) {
    throw folderError(resolve(path), error)
  }
}

function folderError(path: string, error: unknown): Error {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'EEXIST' || code === 'ENOTDIR') {
    return new StartError(
      `DATA_DIR ${path} is, or is inside, a file: remove that file or choose another DATA_DIR`,
    )
  }
  if (code === undefined || !(code in FOLDER_CODES)) return error as Error
  return new StartError(
    `DATA_DIR ${path} ${FOLDER_CODES[code as keyof typeof FOLDER_CODES]} (${message}): choose another DATA_DIR`,
  )
}

const FOLDER_CODES = {
  EACCES: 'cannot be written to',
  EPERM: 'cannot be written to',
  EROFS: 'cannot be written to',
  ENOSPC: 'has no room left',
  EDQUOT: 'has no room left',
  ENAMETOOLONG: 'is too long a name',
}

/** The password of both servers, made at the first start. Only for the owner, or when one is known to be there. */
async function readPassword(data_dir: string): Promise<string> {
  const path = join(data_dir, 'password')
  const { size } = await stat(path).catch(() => ({ size: 0 }))
  if (size === 0) await writeFile(path, randomBytes(24).toString('hex'), { mode: 0o600 })
  return readFile(path, 'utf8')
}
