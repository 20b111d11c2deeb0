import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { identify } from '../../src/embedded/process.ts'

const root = join(import.meta.dirname, '..', '..')
const fixtures = join(import.meta.dirname, 'fixtures')

/** On a slow machine the installation takes long enough to say so. */
const withoutProgress = (text: string) => text.replace(/^holdfast: .*: \d+ s\n/gm, '')

type Run = { child: ChildProcess; done: Promise<{ code: number | null; stdout: string; stderr: string }> }

/** Starts the set-up of the project in this folder. */
function setUp(project: string, args: string[], env: Record<string, string> = {}, cwd = project): Run {
  const child = spawn(process.execPath, [join(project, 'scripts', 'setup.mjs'), ...args], {
    cwd,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      TMPDIR: tmpdir(),
      REDIS_URL: 'redis://given',
      ...env,
    },
    stdio: 'pipe',
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  return { child, done: once(child, 'close').then(([code]) => ({ code, stdout, stderr })) }
}

/** A project with no dependencies installed, and what its npm is to do. */
async function freshProject(t: Test, behaviour: 'install' | 'fail' | 'hang') {
  const project = await realpath(await mkdtemp(join(tmpdir(), 'setup-')))
  t.teardown(() => rm(project, { recursive: true, force: true }))
  await mkdir(join(project, 'src', 'embedded'), { recursive: true })
  const paths = [
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'scripts',
    'src/progress.mjs',
    'src/embedded/redis-server.ts',
  ]
  for (const path of paths) await cp(join(root, path), join(project, path), { recursive: true })
  await cp(join(fixtures, 'entry.ts'), join(project, 'entry.ts'))
  const log_path = join(project, 'npm.log')
  const env = {
    npm_execpath: join(fixtures, 'npm-cli.js'),
    FAKE_NPM: behaviour,
    FAKE_NPM_LOG: log_path,
    REAL_NODE_MODULES: join(root, 'node_modules'),
  }
  const calls = async () => (await readFile(log_path, 'utf8').catch(() => '')).split('\n').filter(Boolean)
  return { project, env, calls }
}

t.test('the program runs in the very process that was started, with its own arguments', async (t) => {
  const { child, done } = setUp(root, ['test/e2e/fixtures/entry.ts', '--repair', 'x y'], {}, tmpdir())
  const { code, stdout, stderr } = await done
  t.equal(code, 0)
  t.equal(stderr, '', 'when nothing is missing nothing is said')
  const { pid, argv, cwd } = JSON.parse(stdout)
  t.equal(pid, child.pid)
  t.strictSame(argv, [process.execPath, join(fixtures, 'entry.ts'), '--repair', 'x y'])
  t.equal(cwd, await realpath(tmpdir()), 'from whatever folder it is started')
})

t.test('missing dependencies are installed first, once, even by two starts at the same moment', async (t) => {
  const { project, env, calls } = await freshProject(t, 'install')
  const results = await Promise.all([1, 2].map(() => setUp(project, ['entry.ts'], env).done))
  for (const { code, stdout } of results) {
    t.equal(code, 0)
    t.equal(JSON.parse(stdout).cwd, project)
  }
  const said = results.map((it) => it.stderr).join('')
  t.equal(withoutProgress(said), 'holdfast: installing dependencies (npm ci)\n')
  t.match(await calls(), [/ ci .*--include=dev/])
  t.equal((await calls()).length, 1)
})

t.test('dependencies of another version than the lockfile names are installed again', async (t) => {
  const { project, env, calls } = await freshProject(t, 'fail')
  const lock = await readFile(join(project, 'package-lock.json'), 'utf8')
  await symlink(join(root, 'node_modules'), join(project, 'node_modules'))
  await writeFile(
    join(project, 'package-lock.json'),
    lock.replace(/("node_modules\/fastify": \{\s*"version": ")/, '$10'),
  )
  await setUp(project, ['entry.ts'], env).done
  t.equal((await calls()).length, 1)
})

t.test(
  'an installation whose packages were deleted is made again, though npm noted it as complete',
  async (t) => {
    const { project, env, calls } = await freshProject(t, 'fail')
    await mkdir(join(project, 'node_modules'))
    const note = join('node_modules', '.package-lock.json')
    await cp(join(root, note), join(project, note))
    await setUp(project, ['entry.ts'], env).done
    t.equal((await calls()).length, 1)
  },
)

t.test('with everything installed npm is not asked', async (t) => {
  const { project, env, calls } = await freshProject(t, 'fail')
  await symlink(join(root, 'node_modules'), join(project, 'node_modules'))
  t.equal((await setUp(project, ['entry.ts'], env).done).code, 0)
  t.strictSame(await calls(), [])
})

t.test('with NODE_ENV=production what only development needs is left out', async (t) => {
  const { project, env, calls } = await freshProject(t, 'install')
  await setUp(project, ['entry.ts'], { ...env, NODE_ENV: 'production' }).done
  t.match(await calls(), [/ ci .*--omit=dev/])
})

t.test('when npm ci fails, one line says why and what to do', async (t) => {
  const { project, env } = await freshProject(t, 'fail')
  const { code, stdout, stderr } = await setUp(project, ['entry.ts'], env).done
  t.equal(code, 1)
  t.equal(stdout, '')
  t.equal(
    withoutProgress(stderr),
    'holdfast: installing dependencies (npm ci)\nholdfast: npm ci failed: request failed, reason: getaddrinfo ENOTFOUND: mend that and start again\n',
  )
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  t.test(`${signal} during npm ci ends npm too`, async (t) => {
    const { project, env, calls } = await freshProject(t, 'hang')
    const { child, done } = setUp(project, ['entry.ts'], env)
    while ((await calls()).length === 0 && child.exitCode === null) await wait(20)
    const pid = Number.parseInt((await calls())[0] ?? '', 10)
    t.ok(await identify(pid), 'npm runs')
    child.kill(signal)
    const { code, stderr } = await done
    t.equal(code, 1)
    t.match(stderr, /stopped while setting up\n$/)
    t.equal(await identify(pid), undefined)
  })
}

t.test('a set-up that was killed does not keep the next one waiting', async (t) => {
  const { project, env, calls } = await freshProject(t, 'hang')
  const { child, done } = setUp(project, ['entry.ts'], env)
  while ((await calls()).length === 0 && child.exitCode === null) await wait(20)
  child.kill('SIGKILL')
  await done
  process.kill(Number.parseInt((await calls())[0] ?? '', 10), 'SIGKILL')
  const { code } = await setUp(project, ['entry.ts'], { ...env, FAKE_NPM: 'install' }).done
  t.equal(code, 0)
})
