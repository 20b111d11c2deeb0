import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { StartError } from '../errors.ts'
import {
  freePort,
  identify,
  type ProcessId,
  type StopStep,
  spawnServer,
  stopProcess,
  worksIn,
} from './process.ts'
import { waitUntilReady } from './ready.ts'
import { findRedisServer, REDIS_MIN_VERSION } from './redis-server.ts'
import type { ServerState } from './state.ts'

/** On SIGTERM Redis writes its AOF and ends, in milliseconds; one that hangs is killed and loses at most a second. */
const STOP_STEPS: StopStep[] = [
  { signal: 'SIGTERM', patience_ms: 4_000 },
  { signal: 'SIGKILL', patience_ms: 1_000 },
]
/** A local server that does not answer within this is not going to. */
const ASK_TIMEOUT_MS = 2_000

/** Starts Redis on `DATA_DIR/redis`. `onStarted` is told the port and process before it is ready. Throws StartError. */
export async function startRedis(options: {
  data_dir: string
  password: string
  stopping: AbortSignal | undefined
  onStarted: (server: ServerState) => Promise<void>
}): Promise<Required<ServerState>> {
  const { data_dir, password, stopping, onStarted } = options
  const program = await findRedisServer()
  if (!program) {
    throw new StartError('no Redis server found on this machine: install redis-server, or set REDIS_URL')
  }
  if (!program.is_recent_enough) {
    throw new StartError(
      `${program.path} is Redis ${program.version || 'of an unknown version'}, but ${REDIS_MIN_VERSION} or later is needed: install one, or set REDIS_URL`,
    )
  }
  const folder = join(data_dir, 'redis')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const port = await freePort(await lastPort(folder))
  await writeSettings(folder, port, password)
  await onStarted({ port })
  const server = await spawnServer({
    command: program.path,
    args: ['redis.conf'],
    cwd: folder,
    log_path: join(data_dir, 'redis.log'),
  })
  await onStarted({ port, id: server.id })
  await waitUntilReady('the embedded Redis', server, stopping, () => askRedis(port, password))
  return { port, id: server.id }
}

/** Ends the Redis with this identity within 5 s. */
export async function stopRedis(id: ProcessId): Promise<void> {
  await stopProcess(id, STOP_STEPS)
}

/**
 * Ends a Redis that a killed owner left behind on `DATA_DIR/redis`: the recorded process if it still is that one, and
 * whatever takes our password on the port of the last settings and works in the folder.
 */
export async function stopLeftoverRedis(
  data_dir: string,
  password: string,
  recorded: ServerState | undefined,
): Promise<void> {
  if (recorded?.id) await stopRedis(recorded.id)
  const folder = join(data_dir, 'redis')
  const port = await lastPort(folder)
  const pid = port === undefined ? undefined : await askRedis(port, password).catch(() => undefined)
  // The folder may be a copy, password and all, of one whose server runs: only what works in this very folder is ours.
  if (pid === undefined || !(await worksIn(pid, folder))) return
  const id = await identify(pid)
  if (id) await stopRedis(id)
}

/** The pid of the Redis that answers on this port and takes this password. Rejects when none does, or while it loads. */
export async function askRedis(port: number, password: string): Promise<number> {
  const client = new Redis({
    host: '127.0.0.1',
    port,
    password,
    lazyConnect: true,
    enableReadyCheck: false,
    connectTimeout: ASK_TIMEOUT_MS,
    commandTimeout: ASK_TIMEOUT_MS,
    // After a refused connection ioredis leaves a timer of this length behind.
    disconnectTimeout: 50,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  // Without a listener ioredis prints every refused connection; the rejection below says the same.
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.ping()
    const pid = /^process_id:(\d+)/m.exec(await client.info('server'))?.[1]
    if (pid === undefined) throw new Error('Redis does not say its process id')
    return Number(pid)
  } finally {
    client.disconnect()
  }
}

/** The settings go into a file because a command line, password and all, can be read by every user of the machine. */
async function writeSettings(folder: string, port: number, password: string): Promise<void> {
  const path = join(folder, 'redis.conf')
  const lines = [
    '# Written anew at every start.',
    'bind 127.0.0.1',
    `port ${port}`,
    `requirepass ${password}`,
    'dir ./',
    'appendonly yes',
    'appendfsync everysec',
    'save ""',
    'maxmemory-policy noeviction',
    'daemonize no',
    'logfile ""',
  ]
  await writeFile(path, `${lines.join('\n')}\n`, { mode: 0o600 })
  await chmod(path, 0o600)
}

/** The port of the last start: taken again if it is free, so that whoever was attached finds Redis again. */
async function lastPort(folder: string): Promise<number | undefined> {
  const settings = await readFile(join(folder, 'redis.conf'), 'utf8').catch(() => '')
  const port = /^port (\d+)$/m.exec(settings)?.[1]
  return port === undefined ? undefined : Number(port)
}
