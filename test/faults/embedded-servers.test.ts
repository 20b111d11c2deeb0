import { execFile, spawn } from 'node:child_process'
import { chmod, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { identify } from '../../src/embedded/process.ts'
import { openServers, stopLeftovers } from '../../src/embedded/servers.ts'
import {
  end,
  leaveMark,
  newFolder,
  open,
  openElsewhere,
  readMarks,
  readState,
  serverPids,
  stillRunning,
  useDatabase,
} from '../embedded/fixtures/program.ts'

const options = { say: () => undefined, is_throw_away: true }

t.test('servers left behind by a killed process are ended and started anew with their data', async (t) => {
  const data_dir = await newFolder(t)
  const killed = await openElsewhere(t, data_dir)
  await leaveMark(killed, 'before')
  const orphans = await serverPids(data_dir)
  await end(killed.child, 'SIGKILL')
  for (const pid of orphans) t.ok(await identify(pid), 'nobody ended it')
  const servers = await open(t, data_dir)
  t.strictSame(await stillRunning(orphans), [])
  t.strictSame(await readMarks(servers), ['before', 'before'])
})

t.test('servers left behind are found even when the record of them is lost', async (t) => {
  const data_dir = await newFolder(t)
  const killed = await openElsewhere(t, data_dir)
  await leaveMark(killed, 'before')
  const orphans = await serverPids(data_dir)
  await end(killed.child, 'SIGKILL')
  await rm(join(data_dir, 'servers-1.json'))
  const servers = await open(t, data_dir)
  t.strictSame(await stillRunning(orphans), [])
  t.strictSame(await readMarks(servers), ['before', 'before'])
})

t.test(
  'after everything was killed at once the data is there and the stale records do no harm',
  async (t) => {
    const data_dir = await newFolder(t)
    const killed = await openElsewhere(t, data_dir)
    await leaveMark(killed, 'before')
    const orphans = await serverPids(data_dir)
    await end(killed.child, 'SIGKILL')
    for (const pid of orphans) process.kill(pid, 'SIGKILL')
    t.strictSame(await stillRunning(orphans), [])
    // The pids were given to others meanwhile: Redis's to a program of ours, PostgreSQL's to a server of another folder.
    const bystander = spawn('sleep', ['60'])
    t.teardown(() => bystander.kill())
    const other_pid = await postmasterPid(process.env.TEST_DATABASE_URL ?? '')
    const state = await readState(data_dir)
    const reused = {
      ...state,
      redis: { ...state.redis, id: { pid: bystander.pid, started: state.redis?.id?.started } },
    }
    await writeFile(join(data_dir, 'servers-1.json'), JSON.stringify(reused))
    const lock_path = join(data_dir, 'postgres', 'postmaster.pid')
    await writeFile(lock_path, (await readFile(lock_path, 'utf8')).replace(/^\d+/, String(other_pid)))
    const servers = await open(t, data_dir)
    t.strictSame(await readMarks(servers), ['before', 'before'])
    t.ok(await identify(bystander.pid ?? 0), 'a process that merely has the pid is not touched')
    t.equal(await postmasterPid(process.env.TEST_DATABASE_URL ?? ''), other_pid)
  },
)

t.test('a copy of a folder in use gets servers of its own', async (t) => {
  const data_dir = await newFolder(t)
  const original = await open(t, data_dir)
  await leaveMark(original, 'copied')
  await useDatabase(original.database_url, (client) => client.query('CHECKPOINT'))
  const copy = join(await newFolder(t), 'copy')
  await promisify(execFile)('cp', ['-a', data_dir, copy])
  const copied = await openServers({ data_dir: copy, ...options })
  t.not(copied.redis_url, original.redis_url)
  t.not(copied.database_url, original.database_url)
  t.strictSame(await readMarks(copied), ['copied', 'copied'])
  await copied.close()
  t.strictSame(await readMarks(original), ['copied', 'copied'], 'and the original goes on')
})

t.test('deleting the folder is a fresh start', async (t) => {
  const data_dir = await newFolder(t)
  const before = await open(t, data_dir)
  await leaveMark(before, 'before')
  await before.close()
  await rm(data_dir, { recursive: true })
  const after = await open(t, data_dir)
  await t.rejects(readMarks(after), { message: 'relation "marks" does not exist' })
})

t.test('a database that was cut off while it was made is made again', async (t) => {
  const data_dir = await newFolder(t)
  const killed = await openElsewhere(t, data_dir)
  await end(killed.child, 'SIGTERM')
  await promisify(execFile)('mv', [join(data_dir, 'postgres'), join(data_dir, 'postgres.new')])
  await rm(join(data_dir, 'postgres.new', 'PG_VERSION'))
  await leaveMark(await open(t, data_dir), 'made')
})

t.test('when one server cannot start the other is ended again, and one line says why', async (t) => {
  const data_dir = await newFolder(t)
  await (await open(t, data_dir)).close()
  await writeFile(join(data_dir, 'postgres', 'postgresql.auto.conf'), 'no_such_setting = 1\n')
  await t.rejects(openServers({ data_dir, ...options }), {
    name: 'StartError',
    message: /^the embedded PostgreSQL did not start: FATAL: .*postgresql\.auto\.conf.*$/,
  })
  const { owner } = await readState(data_dir)
  t.equal(owner, null)
  t.match(await readFile(join(data_dir, 'redis.log'), 'utf8'), /bye bye\.\.\.\n$/)
})

t.test('a server that does not end when asked is killed, and closing takes less than 6 s', async (t) => {
  const data_dir = await newFolder(t)
  const servers = await open(t, data_dir)
  const pids = await serverPids(data_dir)
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  const begun_ms = Date.now()
  await servers.close()
  t.ok(Date.now() - begun_ms < 6_000)
  t.strictSame(await stillRunning(pids), [])
})

t.test('servers that died by themselves do not keep their owner from closing', async (t) => {
  const data_dir = await newFolder(t)
  const servers = await open(t, data_dir)
  for (const pid of await serverPids(data_dir)) process.kill(pid, 'SIGKILL')
  await servers.close()
  t.equal((await readState(data_dir)).owner, null)
})

t.test('what nobody owns can be ended from outside, what somebody owns cannot', async (t) => {
  const data_dir = await newFolder(t)
  const owner = await openElsewhere(t, data_dir)
  const pids = await serverPids(data_dir)
  t.equal(await stopLeftovers(data_dir), false)
  await end(owner.child, 'SIGKILL')
  t.equal(await stopLeftovers(data_dir), true)
  t.strictSame(await stillRunning(pids), [])
})

t.test('a folder that cannot be one is named in one line', async (t) => {
  const folder = await newFolder(t)
  const file = join(folder, 'file')
  await writeFile(file, '')
  for (const data_dir of [file, join(file, 'below')]) {
    await t.rejects(openServers({ data_dir, ...options }), {
      name: 'StartError',
      message: `DATA_DIR ${data_dir} is, or is inside, a file: remove that file or choose another DATA_DIR`,
    })
  }
})

t.test('a folder that this user may not write to is named in one line', async (t) => {
  const data_dir = await newFolder(t)
  await chmod(data_dir, 0o555)
  const isRoot = process.geteuid?.() === 0
  // Root may write everywhere, so for a moment this process is nobody.
  if (isRoot) process.seteuid?.(65534)
  try {
    await t.rejects(openServers({ data_dir, ...options }), {
      name: 'StartError',
      message: new RegExp(
        `^DATA_DIR ${data_dir} cannot be written to \\(EACCES.*\\): choose another DATA_DIR$`,
      ),
    })
  } finally {
    if (isRoot) process.seteuid?.(0)
    await chmod(data_dir, 0o700)
  }
  t.ok((await stat(data_dir)).isDirectory())
})

async function postmasterPid(database_url: string): Promise<number> {
  return useDatabase(database_url, async (client) => {
    const { rows } = await client.query<{ text: string }>(`SELECT pg_read_file('postmaster.pid') AS text`)
    return Number.parseInt(rows[0]?.text ?? '', 10)
  })
}
