import { execFileSync } from 'node:child_process'
import { access, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openServers } from '../../src/embedded/servers.ts'
import { takeOwnership } from '../../src/embedded/state.ts'
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
  useRedis,
} from './fixtures/program.ts'

t.test('a first start makes both servers, and a second one finds what was left in them', async (t) => {
  const data_dir = join(await newFolder(t), 'not', 'there', 'yet')
  const first = await open(t, data_dir)
  const pids = await serverPids(data_dir)
  await leaveMark(first, 'first')
  await first.close()
  t.strictSame(await stillRunning(pids), [], 'closing ended both')
  t.equal((await readState(data_dir)).owner, null, 'and gave the folder back')
  const second = await open(t, data_dir)
  t.strictSame(await readMarks(second), ['first', 'first'])
  t.equal(second.redis_url, first.redis_url, 'on the same ports, so that who was attached finds them again')
  t.equal(second.database_url, first.database_url)
})

t.test('the servers are set up for data that lasts, and for this user of this machine only', async (t) => {
  const data_dir = await newFolder(t)
  const { redis_url, database_url } = await open(t, data_dir)
  await useRedis(redis_url, async (client) => {
    const settings = ['appendonly', 'appendfsync', 'maxmemory-policy', 'bind', 'save']
    const found = await Promise.all(
      settings.map(async (name) => (await client.config('GET', name)) as string[]),
    )
    t.strictSame(Object.fromEntries(found), {
      appendonly: 'yes',
      appendfsync: 'everysec',
      'maxmemory-policy': 'noeviction',
      bind: '127.0.0.1',
      save: '',
    })
  })
  await useDatabase(database_url, async (client) => {
    const { rows } = await client.query(
      `SELECT current_database() AS name, current_setting('server_encoding') AS encoding, current_setting('timezone') AS zone,
              current_setting('listen_addresses') AS bound, current_setting('unix_socket_directories') AS sockets`,
    )
    t.strictSame(rows, [{ name: 'holdfast', encoding: 'UTF8', zone: 'UTC', bound: '127.0.0.1', sockets: '' }])
  })
  const password = await readFile(join(data_dir, 'password'), 'utf8')
  t.ok(redis_url.includes(password) && database_url.includes(password))
  t.notOk(
    execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).includes(password),
    'not in the process list',
  )
  for (const name of ['password', join('redis', 'redis.conf'), 'redis.log', 'postgres.log']) {
    t.equal((await stat(join(data_dir, name))).mode & 0o777, 0o600, `${name} is for its owner alone`)
  }
  await t.rejects(useRedis(redis_url.replace(password, 'x'), (client) => client.get('mark')))
  await t.rejects(useDatabase(database_url.replace(password, 'x'), async () => undefined))
})

t.test('with both addresses given nothing is started and no folder is made', async (t) => {
  const data_dir = join(await newFolder(t), 'data')
  const given = { redis_url: 'redis://somewhere', database_url: 'postgresql://somewhere' }
  const { close, ...urls } = await openServers({ data_dir, ...given, say: t.fail })
  await close()
  t.strictSame(urls, given)
  await t.rejects(access(data_dir))
})

t.test('with one address given only the other server is started', async (t) => {
  const data_dir = await newFolder(t)
  const database_url = 'postgresql://somewhere'
  const servers = await openServers({ data_dir, database_url, say: t.fail })
  t.teardown(() => servers.close())
  t.equal(servers.database_url, database_url)
  t.equal(await useRedis(servers.redis_url, (client) => client.ping()), 'PONG')
  t.equal((await readState(data_dir)).postgres, undefined)
  await t.rejects(openServers({ data_dir, say: t.fail }), {
    name: 'StartError',
    message: `process ${process.pid}, which has ${data_dir}, runs no PostgreSQL there: set DATABASE_URL as it was set for that process`,
  })
})

t.test('a second process attaches, and its end leaves the servers running', async (t) => {
  const data_dir = await newFolder(t)
  const owner = await open(t, data_dir)
  const pids = await serverPids(data_dir)
  const attached = await openElsewhere(t, data_dir)
  t.equal(attached.redis_url, owner.redis_url)
  t.equal(attached.database_url, owner.database_url)
  await end(attached.child, 'SIGTERM')
  t.strictSame(await serverPids(data_dir), pids)
  await leaveMark(owner, 'still here')
})

t.test('of processes that start at once one starts the servers and the others attach', async (t) => {
  const data_dir = await newFolder(t)
  const opened = await Promise.all([1, 2, 3].map(() => openElsewhere(t, data_dir)))
  t.equal(new Set(opened.map((it) => it.redis_url)).size, 1)
  t.equal(new Set(opened.map((it) => it.database_url)).size, 1)
  const { owner } = await readState(data_dir)
  const pids = await serverPids(data_dir)
  t.equal(opened.filter((it) => it.pid === owner?.pid).length, 1, 'one of them is the owner')
  for (const { child } of opened.filter((it) => it.pid !== owner?.pid)) await end(child, 'SIGTERM')
  await leaveMark({ redis_url: '', database_url: '', ...opened[0] }, 'still here')
  for (const { child } of opened) await end(child, 'SIGTERM')
  t.strictSame(await stillRunning(pids), [], 'closing is the business of the owner')
})

t.test('a start that waits for another one gives up when it is told to', async (t) => {
  const data_dir = await newFolder(t)
  const other = await takeOwnership(data_dir)
  t.teardown(() => other?.release())
  const stopping = new AbortController()
  const opening = openServers({ data_dir, say: t.fail, stopping: stopping.signal })
  stopping.abort(new Error('stopped'))
  await t.rejects(opening, { message: 'stopped' })
})
