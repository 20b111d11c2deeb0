import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  statfs,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { installBrowser } from '../scripts/browser.mjs'
import { installPgBouncer } from '../scripts/pgbouncer.mjs'
import { watchParent } from '../src/embedded/parent.ts'
import { identify, isRunning, type ProcessId, stopProcess } from '../src/embedded/process.ts'
import { openServers, stopLeftovers } from '../src/embedded/servers.ts'
import { StartError } from '../src/errors.ts'
import { startCluster, type TestCluster } from './fixtures/cluster.ts'
import { createTemplate } from './fixtures/database.ts'
import { groupTests } from './groups.ts'

/*
  Runs tap on the files given, or on all tests but the slow ones of test/faults, against a Redis and a PostgreSQL of
  their own in a temporary folder; with --cluster, on those of test/cluster and most of the others against a Redis
  Cluster of three masters and three replicas.
  The line "N passed, N failed" ends the output; the exit code is 1 if anything failed or nothing ran.
*/

const ROOT = dirname(import.meta.dirname)
const FOLDER_PREFIX = 'holdfast-test-'
/** Every commit of a test waits for what its data lies on, and memory is the quickest. In a container it may be small. */
const MEMORY = '/dev/shm'
const MEMORY_NEEDED_BYTES = 2 * 2 ** 30
/** What marks a folder on which embedded servers run, or ran. */
const STATE_FILE = /^servers-\d+\.json$/
/** Which process tap is, for the next run, should this one be killed. */
const TAP_FILE = 'tap.json'
/** How long tap and the tests may take to end after a signal before they are killed. */
const STOP_WAIT_MS = 2_000
/** What `npm run test:faults` runs: tests that kill and stall servers, and so take their time. */
const SLOW_TESTS = 'test/faults/**'
/** The summary of a run stands in its last lines. */
const TAIL_CHARS = 4_000

/** What the developer's shell may hold for the real service: no test may see it. */
const SERVICE_VARIABLES = [
  ...['PORT', 'HOST', 'REDIS_URL', 'REDIS_CLUSTER_NODES', 'DATABASE_URL', 'DATA_DIR', 'ADMIN_TOKEN'],
  ...[
    'WEBHOOK_SECRETS',
    'HOLD_TTL_SECONDS',
    'ORDER_TTL_SECONDS',
    'SWEEPER',
    'STOCK_SHARDS',
    'WORKERS',
    'LOG_LEVEL',
  ],
  ...[
    'TRUST_PROXY',
    'RATE_LIMIT_PER_MINUTE',
    'CUSTOMER_JWT_SECRET',
    'CUSTOMER_JWKS_URL',
    'STRIPE_WEBHOOK_SECRET',
    'NODE_ENV',
  ],
  ...['PGHOST', 'PGPORT', 'PGUSER', 'PGPASSWORD', 'PGDATABASE', 'PGOPTIONS', 'PGSSLMODE', 'PGSERVICE'],
]

const CLUSTER_OPTION = '--cluster'
const is_cluster = process.argv.includes(CLUSTER_OPTION)
const CLUSTER_FOLDER = 'cluster'
/** Which processes the cluster of a run are. */
const CLUSTER_FILE = 'cluster.json'
const CLUSTER_TESTS = 'test/cluster/**'
/** What a run on a cluster leaves out: where there is but one Redis, or none, or where once is enough. */
const NOT_ON_CLUSTER: Record<string, string> = {
  'test/*.test.ts': 'knows no Redis, or starts the service on an embedded one',
  'test/{bench,e2e,embedded,explore}/**': 'starts servers of its own',
  'test/{db,desk,ops}/**': 'knows no Redis',
  'test/{browser,client,docs}/**': 'sees the service from outside, which does not show what it runs on',
  'test/engine/{ids,slots}.test.ts': 'knows no Redis',
  'test/engine/redis.test.ts': 'cuts the connection to one Redis',
  'test/lua/{headers,keys}.test.ts': 'knows no Redis, or has a cluster of its own',
  'test/http/documented-codes.test.ts': 'cuts the connection to one Redis',
  'test/http/fuzz.test.ts': 'draws requests at random, for long',
  'test/engine/sequences.test.ts': 'has a clock under a key that lies in no shard',
  'test/payments/{model,model-control}.test.ts': 'draws steps at random, for long',
}

const say = (line: string) => console.error(`holdfast: ${line}`)
const stopped = new AbortController()
const stop = (name: string) => () => stopped.abort(name)

async function main(): Promise<number> {
  process.on('SIGINT', stop('SIGINT'))
  process.on('SIGTERM', stop('SIGTERM'))
  process.on('SIGHUP', stop('SIGHUP'))
  // A closed pipe, say of `npm test | head`, must not end this process before it has stopped its servers.
  process.stdout.on('error', stop('the end of its output'))
  const stopWatching = process.env.npm_lifecycle_event ? watchParent(stop('the end of npm')) : undefined
  await removeOldFolders()
  if (!is_cluster && needs('browser')) await installBrowser(say)
  if (!is_cluster && needs('pgbouncer')) await installPgBouncer(say)
  const folder = await mkdtemp(join(tmpdir(), FOLDER_PREFIX))
  let cluster: TestCluster | undefined
  try {
    if (is_cluster) cluster = await openCluster(folder)
    const data_dir = join(folder, 'data')
    if (await hasMemory()) await symlink(await mkdtemp(join(MEMORY, FOLDER_PREFIX)), data_dir)
    const servers = await openServers({ data_dir, say, is_throw_away: true, redis_url: cluster?.address })
    try {
      await createTemplate(servers.database_url)
      return await runTap(folder, servers)
    } finally {
      await servers.close()
    }
  } finally {
    await cluster?.close()
    await removeFolder(folder)
    stopWatching?.()
  }
}

async function hasMemory(): Promise<boolean> {
  const { bavail, bsize } = await statfs(MEMORY).catch(() => ({ bavail: 0, bsize: 0 }))
  return bavail * bsize > MEMORY_NEEDED_BYTES
}

/** Whether tests are run whose files name this program; without files all are. */
function needs(program: string): boolean {
  const files = process.argv.slice(2)
  return files.length === 0 || files.some((file) => file.includes(program))
}

/** A cluster for the whole run. Its processes are noted for the next run, should this one be killed. */
async function openCluster(folder: string): Promise<TestCluster> {
  const data_dir = join(folder, CLUSTER_FOLDER)
  await mkdir(data_dir)
  const cluster = await startCluster(data_dir)
  const ids = await Promise.all(cluster.nodes.map((node) => identify(node.pid())))
  await writeFile(join(folder, CLUSTER_FILE), JSON.stringify(ids))
  return cluster
}

async function runTap(folder: string, servers: { redis_url: string; database_url: string }): Promise<number> {
  const output_path = join(folder, 'results.tap')
  const scratch = join(folder, 'tmp')
  await mkdir(scratch)
  const env: NodeJS.ProcessEnv = { ...process.env, TMPDIR: scratch }
  for (const name of SERVICE_VARIABLES) delete env[name]
  env.TEST_REDIS_URL = servers.redis_url
  env.TEST_DATABASE_URL = servers.database_url
  if (stopped.signal.aborted) return 1
  const tap = join(dirname(createRequire(import.meta.url).resolve('tap/package.json')), 'dist/esm/run.mjs')
  // tap prints everything twice when it is to write a file and there is no terminal; then its output is read here.
  const is_terminal = process.stdout.isTTY
  const files = process.argv.slice(2).filter((argument) => argument !== CLUSTER_OPTION)
  const left_out = [SLOW_TESTS, ...(is_cluster ? Object.keys(NOT_ON_CLUSTER) : [CLUSTER_TESTS])]
  const chosen = files.length > 0 ? files : await groupTests(ROOT, left_out, join(folder, 'groups'))
  const child = spawn(process.execPath, [tap, ...(is_terminal ? ['-o', output_path] : []), ...chosen], {
    env,
    cwd: ROOT,
    stdio: ['ignore', is_terminal ? 'inherit' : 'pipe', 'inherit'],
    detached: true,
  })
  const id = await identify(child.pid ?? 0)
  await writeFile(join(folder, TAP_FILE), JSON.stringify(id ?? null))
  let tail = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    process.stdout.write(chunk)
    tail = (tail + chunk).slice(-TAIL_CHARS)
  })
  const exited = once(child, 'exit')
  const closed = once(child, 'close')
  await Promise.race([exited, once(stopped.signal, 'abort')])
  await endGroup(child, exited)
  await within(STOP_WAIT_MS, closed)
  if (stopped.signal.aborted) {
    say(`stopped by ${stopped.signal.reason}`)
    return 1
  }
  const code = child.exitCode ?? 1
  const { passed, failed } = readCounts(
    is_terminal ? await readFile(output_path, 'utf8').catch(() => '') : tail,
  )
  console.log(`\n${passed} passed, ${failed} failed`)
  if (failed > 0 || passed === 0) return code || 1
  return code
}

/** Ends tap, if it still runs, and whatever the tests left behind in its process group. */
async function endGroup(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (child.pid === undefined) return
  if (child.exitCode === null && child.signalCode === null) {
    signalGroup(child.pid, 'SIGTERM')
    await within(STOP_WAIT_MS, exited)
  }
  signalGroup(child.pid, 'SIGKILL')
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Waits for the promise, but no longer than this. */
async function within(limit_ms: number, promise: Promise<unknown>): Promise<void> {
  const done = new AbortController()
  await Promise.race([promise, wait(limit_ms, undefined, { signal: done.signal }).catch(() => undefined)])
  done.abort()
}

/** The assertions that tap counted, from the last summary line: `# { total: 11, pass: 7, fail: 2, skip: 2 }`. */
function readCounts(text: string): { passed: number; failed: number } {
  const summary = [...text.matchAll(/^# \{ total: .*\}$/gm)].at(-1)?.[0] ?? ''
  const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0)
  return { passed: count('pass'), failed: count('fail') }
}

/** Ends the servers that killed tests left behind in the folder, then deletes it. */
async function removeFolder(folder: string): Promise<void> {
  const paths = await readdir(folder, { recursive: true })
  const ids = JSON.parse(
    await readFile(join(folder, CLUSTER_FILE), 'utf8').catch(() => '[]'),
  ) as Array<ProcessId | null>
  for (const id of ids) if (id) await stopProcess(id, [{ signal: 'SIGKILL', patience_ms: STOP_WAIT_MS }])
  const data_dirs = paths.filter((path) => STATE_FILE.test(basename(path))).map((path) => dirname(path))
  for (const data_dir of data_dirs) await stopLeftovers(join(folder, data_dir))
  const data = await realpath(join(folder, 'data')).catch(() => folder)
  for (const path of [data, folder]) await rm(path, { recursive: true, force: true, maxRetries: 5 })
}

/** Folders of runs that were killed, servers and all. A run that goes on owns its servers and is left alone. */
async function removeOldFolders(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(FOLDER_PREFIX)) continue
    const folder = join(tmpdir(), name)
    const { uid } = await lstat(folder)
    if (uid !== process.getuid?.()) continue
    const data_dir = join(folder, 'data')
    const names = await readdir(data_dir).catch(() => [])
    if (!names.some((it) => STATE_FILE.test(it)) || !(await stopLeftovers(data_dir))) continue
    const tap = JSON.parse(
      await readFile(join(folder, TAP_FILE), 'utf8').catch(() => 'null'),
    ) as ProcessId | null
    if (tap && (await isRunning(tap))) signalGroup(tap.pid, 'SIGKILL')
    await removeFolder(folder)
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof StartError)) throw error
  say(error.message)
  process.exitCode = 1
}
