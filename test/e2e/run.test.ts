import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { identify } from '../../src/embedded/process.ts'

const root = join(import.meta.dirname, '..', '..')

type Run = { child: ChildProcess; done: Promise<{ code: number | null; lines: string[] }>; folder: string }

/** Starts what `npm test` starts, on one of the fixtures, with a temporary folder of its own. */
async function run(t: Test, fixture: string, env: Record<string, string> = {}): Promise<Run> {
  const folder = await mkdtemp(join(tmpdir(), 'run-'))
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  // In a shell of its own, without what tap tells the programs that its tests start.
  const command = `unset $(env | sed -n 's/^\\(_*TAP[A-Z_]*\\|NODE_OPTIONS\\)=.*/\\1/p'); exec "$0" --import tsx test/run.ts "$1"`
  const child = spawn('sh', ['-c', command, process.execPath, `test/e2e/fixtures/${fixture}`], {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: folder, ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const done = once(child, 'close').then(([code]) => ({ code, lines: output.trimEnd().split('\n') }))
  return { child, done, folder }
}

/** What a run left in its temporary folder, but for the cache of tsx. */
async function leftIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => !name.startsWith('tsx-'))
}

/** Where the data of a run lies, which may be in memory. */
const dataIn = async (folder: string) => realpath(join(folder, (await leftIn(folder))[0] ?? '', 'data'))

t.test('a run ends with its counts, and its exit code says whether all is well', { jobs: 2 }, async (t) => {
  const cases = [
    { fixture: 'passes.ts', code: 0, last_line: '5 passed, 0 failed' },
    { fixture: 'fails.ts', code: 1, last_line: '1 passed, 1 failed' },
    { fixture: 'throws.ts', code: 1, last_line: '0 passed, 1 failed' },
    { fixture: 'missing.ts', code: 1, last_line: '0 passed, 0 failed' },
  ]
  const env = { REDIS_URL: 'redis://mine', DATABASE_URL: 'postgresql://mine', ADMIN_TOKEN: 'mine' }
  for (const { fixture, code, last_line } of cases) {
    t.test(fixture, { buffered: true }, async (t) => {
      const { done, folder } = await run(t, fixture, env)
      const result = await done
      t.equal(result.code, code)
      t.equal(result.lines.at(-1), last_line)
      t.strictSame(await leftIn(folder), [])
    })
  }
})

t.test('a run that is stopped ends its tests and its servers and takes its folder away', async (t) => {
  const { child, done, folder, test_pid } = await runHanging(t)
  const data = await dataIn(folder)
  child.kill('SIGTERM')
  t.equal((await done).code, 1)
  t.equal(await identify(test_pid), undefined)
  t.strictSame(await leftIn(folder), [])
  await t.rejects(access(data), { code: 'ENOENT' })
})

t.test('what a killed run left behind is taken away by the next one, its tests included', async (t) => {
  const { child, folder, test_pid } = await runHanging(t)
  const data = await dataIn(folder)
  child.kill('SIGKILL')
  await once(child, 'exit')
  await (await run(t, 'missing.ts', { TMPDIR: folder })).done
  t.strictSame(await leftIn(folder), [])
  await t.rejects(access(data), { code: 'ENOENT' })
  t.equal(await identify(test_pid), undefined)
})

/** A run whose only test never ends. */
async function runHanging(t: Test): Promise<Run & { test_pid: number }> {
  const sign = join(await mkdtemp(join(tmpdir(), 'sign-')), 'pid')
  const started = await run(t, 'hangs.ts', { HANGS_SIGN: sign })
  const readSign = () => readFile(sign, 'utf8').catch(() => '')
  while ((await readSign()) === '' && started.child.exitCode === null) await wait(20)
  const test_pid = Number(await readSign())
  t.ok(await identify(test_pid), 'the test runs')
  return { ...started, test_pid }
}
