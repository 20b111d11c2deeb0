import { readFile, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { StartError } from '../errors.ts'
import { makeCluster, NAME, pathInside } from './postgres-cluster.ts'
import { type Account, findPostgres } from './postgres-program.ts'
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
import type { ServerState } from './state.ts'

/** SIGINT is the fast shutdown (a checkpoint, no waiting for clients); SIGQUIT skips the checkpoint, the next start recovers. */
const STOP_STEPS: StopStep[] = [
  { signal: 'SIGINT', patience_ms: 4_000 },
  { signal: 'SIGQUIT', patience_ms: 800 },
  { signal: 'SIGKILL', patience_ms: 800 },
]
/** A local server that does not answer within this is not going to. */
const ASK_TIMEOUT_MS = 2_000
/** Enough for 64 workers that all rebuild a shard (`connectionsOfEach`), with sweepers and other programs beside them. */
export const MAX_CONNECTIONS = 250

/**
 * Starts PostgreSQL on `DATA_DIR/postgres`, after making the cluster if there is none. `onStarted` is told the port and
 * process before it is ready. Throws StartError.
 */
export async function startPostgres(options: {
  data_dir: string
  password: string
  is_throw_away: boolean
  say: (line: string) => void
  stopping: AbortSignal | undefined
  onStarted: (server: ServerState) => Promise<void>
}): Promise<Required<ServerState>> {
  const { data_dir, password, is_throw_away, say, stopping, onStarted } = options
  const folder = join(data_dir, 'postgres')
  const program = await findPostgres(await ownerOf(folder), say)
  if (!(await exists(folder))) await makeCluster(folder, program, password, is_throw_away)
  await dropStaleLock(folder)
  const port = await freePort(await lastPort(folder))
  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    `max_connections=${MAX_CONNECTIONS}`,
    'timezone=UTC',
    'log_timezone=UTC',
  ]
  await onStarted({ port })
  const server = await spawnServer({
    command: program.postgres,
    args: [
      '-D',
      pathInside(folder, program.account),
      '-p',
      String(port),
      ...settings.flatMap((it) => ['-c', it]),
    ],
    cwd: folder,
    log_path: join(data_dir, 'postgres.log'),
    ...program.account,
  })
  await onStarted({ port, id: server.id })
  await waitUntilReady('the embedded PostgreSQL', server, stopping, () => prepareDatabase(port, password))
  return { port, id: server.id }
}

/** Ends the PostgreSQL with this identity within 6 s. */
export async function stopPostgres(id: ProcessId): Promise<void> {
  await stopProcess(id, STOP_STEPS)
}

/**
 * Ends a PostgreSQL that a killed owner left behind on `DATA_DIR/postgres`: the recorded process if it still is that
 * one, and whatever takes our password on the port of the last start and works in the folder.
 */
export async function stopLeftoverPostgres(
  data_dir: string,
  password: string,
  recorded: ServerState | undefined,
): Promise<void> {
  if (recorded?.id) await stopPostgres(recorded.id)
  const folder = join(data_dir, 'postgres')
  const port = await lastPort(folder)
  const pid = port === undefined ? undefined : await askPostgres(port, password).catch(() => undefined)
  // The folder may be a copy, password and all, of one whose server runs: only what works in this very folder is ours.
  if (pid === undefined || !(await worksIn(pid, folder))) return
  const id = await identify(pid)
  if (id) await stopPostgres(id)
}

/** The pid of the PostgreSQL that answers on this port and takes this password. Rejects when none does. */
export async function askPostgres(port: number, password: string): Promise<number> {
  return query(port, password, 'postgres', async (client) => {
    const { rows } = await client.query<{ pid: number }>(
      `SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int AS pid`,
    )
    return rows[0]?.pid ?? 0
  })
}

/** The URL of the database in the server on this port. */
export function databaseUrl(port: number, password: string): string {
  return `postgresql://${NAME}:${password}@127.0.0.1:${port}/${NAME}?sslmode=disable`
}

/** Makes the database if it is missing; rejects while the server is not ready. */
async function prepareDatabase(port: number, password: string): Promise<void> {
  await query(port, password, 'postgres', async (client) => {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [NAME])
    if (rowCount === 0) await client.query(`CREATE DATABASE ${NAME}`)
  })
}

async function query<T>(
  port: number,
  password: string,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: NAME,
    password,
    database,
    ssl: false,
    connectionTimeoutMillis: ASK_TIMEOUT_MS,
    query_timeout: ASK_TIMEOUT_MS * 5,
  })
  // A server that ends while we are connected is reported by the rejection, or by its exit.
  client.on('error', () => undefined)
  try {
    await client.connect()
    return await work(client)
  } catch (error) {
    if ((error as { code?: string }).code === '28P01') {
      throw new StartError(
        'the password file in DATA_DIR does not fit the database beside it: put the right one back, or delete DATA_DIR to begin afresh',
      )
    }
    throw error
  } finally {
    await client.end().catch(() => undefined)
  }
}

/**
 * PostgreSQL finds out by itself that the process in postmaster.pid is dead. But it takes any living process with that
 * pid for a server, which after a crash of the machine may be anything: only that case is mended here.
 */
async function dropStaleLock(folder: string): Promise<void> {
  const path = join(folder, 'postmaster.pid')
  const pid = Number.parseInt(await readFile(path, 'utf8').catch(() => ''), 10)
  if (!Number.isInteger(pid) || !(await identify(pid))) return
  if (await worksIn(pid, folder)) {
    throw new StartError(`process ${pid} already runs PostgreSQL on ${folder}: stop it, then start again`)
  }
  await unlink(path)
}

/** The account that an existing cluster belongs to; undefined when there is none or it is root's. */
async function ownerOf(folder: string): Promise<Account | undefined> {
  const { uid, gid } = (await exists(folder)) ?? { uid: 0, gid: 0 }
  const own_uid = process.getuid?.() ?? uid
  if (uid !== 0 && own_uid !== 0 && uid !== own_uid) {
    throw new StartError(
      `${folder} belongs to another user (${uid}): start as that user, or choose another DATA_DIR`,
    )
  }
  return uid === 0 ? undefined : { uid, gid }
}

async function exists(folder: string): Promise<{ uid: number; gid: number } | undefined> {
  return stat(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
}

/** The port of the last start: taken again if it is free, so that whoever was attached finds PostgreSQL again. */
async function lastPort(folder: string): Promise<number | undefined> {
  const options = await readFile(join(folder, 'postmaster.opts'), 'utf8').catch(() => '')
  const port = /"-p" "(\d+)"/.exec(options)?.[1]
  return port === undefined ? undefined : Number(port)
}
