import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { control, figure, median, quantile, ratio, type Sample } from '../../bench/figures.ts'
import { GOALS, judge, results } from '../../bench/goals.ts'
import type { Job } from '../../bench/load/jobs.ts'
import { readAnswer } from '../../bench/load/line.ts'
import { openLoop } from '../../bench/load/open.ts'
import { processCpu, toSample } from '../../bench/measure.ts'
import { readOptions, SCENARIOS } from '../../bench/options.ts'
import { table } from '../../bench/report/markdown.ts'
import { ARMS } from '../../bench/scenarios/arms.ts'
import { armsOf, ROTATIONS } from '../../bench/scenarios/rotation.ts'

const root = join(import.meta.dirname, '..', '..')

/** An arm with this many requests per second in each round. */
const rounds = (arm: string, rates: number[], connections = 64): Sample[] =>
  rates.map((per_second, at) => ({ arm, connections, round: at + 1, figures: { per_second } }))
const rate = (arm: string) => ({ arm, figure: 'per_second', connections: 64 }) as const

t.test('medians and quantiles', async (t) => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.ok(Number.isNaN(median([])))
  const hundred = Array.from({ length: 100 }, (_, at) => 100 - at)
  t.equal(quantile(hundred, 0.99), 99)
  t.equal(quantile(hundred, 0.5), 50)
  t.equal(quantile([7], 0.99), 7)
  t.ok(Number.isNaN(quantile([], 0.99)))
})

t.test('a ratio is taken round by round, so that a slow round does not count', async (t) => {
  const samples = [...rounds('one', [100, 10, 300]), ...rounds('two', [50, 5, 100])]
  t.same(ratio(samples, rate('one'), rate('two')), { median: 2, min: 2, max: 3, rounds: 3 })
  t.same(figure(samples, rate('one')), { median: 100, min: 10, max: 300, rounds: 3 })
})

t.test('a ratio needs both arms in one round, at the same connections', async (t) => {
  const samples = [...rounds('one', [100]), ...rounds('two', [50], 256)]
  t.equal(ratio(samples, rate('one'), rate('two')), undefined)
  t.equal(ratio(samples, rate('one'), rate('three')), undefined)
  t.equal(ratio([...samples, ...rounds('three', [0])], rate('one'), rate('three')), undefined)
})

t.test('an arm that differs from itself by more than 5 % says that the machine is noisy', async (t) => {
  const quiet = [...rounds('one', [100, 200, 100]), ...rounds('again', [96, 96, 200])]
  t.match(control(quiet, 'one', 'again', 64), { is_noisy: false })
  const noisy = [...rounds('one', [100]), ...rounds('again', [94])]
  t.match(control(noisy, 'one', 'again', 64), { is_noisy: true })
  t.equal(control(noisy, 'one', 'again', 256), undefined)
})

t.test('the median decides whether a goal is met', async (t) => {
  const of = rate('one')
  const of_median = (value: number) => ({ median: value, min: 0, max: 100, rounds: 3 })
  const more = { name: 'more', of, better: 'more', goal: 2, stretch: 3 } as const
  t.equal(judge(more, of_median(1.9)), 'missed')
  t.equal(judge(more, of_median(2)), 'met')
  t.equal(judge(more, of_median(3)), 'stretch')
  const less = { name: 'less', of, better: 'less', goal: 2 } as const
  t.equal(judge(less, of_median(2.1)), 'missed')
  t.equal(judge(less, of_median(1)), 'met')
  t.equal(judge(less, undefined), 'not measured')
})

t.test('goals stand for each number of connections, or for the most alone', async (t) => {
  const samples = [...rounds('hold', [90], 256), ...rounds('bare', [100], 256)]
  const found = results(samples, [64, 256])
  const of = (name: string) => found.filter(({ goal }) => goal.name === name)
  t.match(of('holds/s ÷ bare POST (b)'), [
    { connections: 64, verdict: 'not measured' },
    { connections: 256, verdict: 'met' },
  ])
  t.match(of('Redis CPU per hold ÷ (c)'), [{ connections: 256 }])
  t.match(of('cliff: until all units are back'), [{ connections: 64 }])
})

t.test('every scenario and every goal names arms that there are', async (t) => {
  for (const name of Object.values(ROTATIONS).flat()) t.ok(ARMS[name], name)
  t.strictSame(new Set(armsOf(SCENARIOS).map(([name]) => name)), new Set(Object.keys(ARMS)))
  const own = ['hold-open', 'bare-open', 'cliff', 'cliff-before', 'memory-hold', 'memory-naive']
  own.push('wave', 'wave-before', 'cluster', 'one-master', 'one-server')
  for (const { of, by } of GOALS) {
    for (const term of [of, by]) if (term && !own.includes(term.arm)) t.ok(ARMS[term.arm], term.arm)
  }
})

t.test('CPU time is counted per request, and what was not expected does not count as done', async (t) => {
  const load = { seconds: 2, errors: 1, p50_ms: 1, p99_ms: 2, count_by_status: { 201: 90, 503: 10 } }
  const before = { server: 100, redis: 10, postgres: null, generator: 0 }
  const after = { server: 110, redis: 11, postgres: null, generator: 5 }
  const { figures } = toSample(
    { name: 'one', connections: 64, round: 1, expects: [201] },
    load,
    before,
    after,
  )
  t.match(figures, { per_second: 45, unexpected: 11, server_us: 100, redis_us: 10, postgres_us: null })
})

t.test('CPU time of a process comes from the system', { skip: process.platform !== 'linux' }, async (t) => {
  const before = (await processCpu(process.pid)) ?? Number.NaN
  const until_ms = performance.now() + 100
  while (performance.now() < until_ms) Math.sqrt(until_ms)
  t.ok(((await processCpu(process.pid)) ?? 0) > before)
  t.equal(await processCpu(undefined), null)
})

t.test('an answer is read when all of it is there', async (t) => {
  const text = 'HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}'
  t.strictSame(readAnswer(text), { status: 201, end: text.length })
  t.equal(readAnswer(text.slice(0, -1)), undefined)
  t.equal(readAnswer(text.slice(0, 20)), undefined)
  t.throws(() => readAnswer('HTTP/1.1 200 OK\r\n\r\n'), /Content-Length/)
})

t.test('an open loop charges a server that stalls for everybody who came meanwhile', async (t) => {
  const STALL_MS = 300
  let free_at_ms = Number.POSITIVE_INFINITY
  const server = createServer((_request, response) => {
    if (free_at_ms === Number.POSITIVE_INFINITY) free_at_ms = performance.now() + STALL_MS
    setTimeout(() => response.end('{}'), Math.max(0, free_at_ms - performance.now()))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const job: Omit<Extract<Job, { kind: 'open' }>, 'when_busy'> = {
    kind: 'open',
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    request: { method: 'GET', path: '/' },
    connections: 4,
    seconds: 0.5,
    per_second: 100,
    ignore_seconds: 0,
  }
  const result = await openLoop({ ...job, when_busy: 'wait' })
  t.equal(result.count_by_status[200], 50, 'everything that was due was sent')
  t.ok(result.p99_ms >= STALL_MS * 0.8, 'the first ones waited for all of the stall')
  t.ok(result.p50_ms > 20, 'so did those that found no connection')
  free_at_ms = Number.POSITIVE_INFINITY
  const given_up = (await openLoop({ ...job, when_busy: 'give_up' })).given_up ?? 0
  t.ok(given_up >= 10, 'or they are counted as given up')
})

t.test('a table is aligned, and so can be read as text', async (t) => {
  const lines = table(['a', 'µs'], [['long one', '1']]).split('\n')
  t.strictSame(lines, ['| a        | µs  |', '| -------- | --- |', '| long one | 1   |'])
})

t.test('options', async (t) => {
  t.match(readOptions([]), { rounds: 5, connections: [64, 256], scenarios: SCENARIOS, is_quick: false })
  t.match(readOptions(['--quick', '--rounds', '3', '--only', 'holds,cliff', '--connections', '8']), {
    ...{ rounds: 3, connections: [8], scenarios: ['holds', 'cliff'], is_quick: true },
  })
  t.equal(readOptions(['--help']), undefined)
  t.throws(() => readOptions(['--only', 'nothing']), /there is no scenario nothing/)
  t.throws(() => readOptions(['--rounds', '0']), /--rounds/)
  t.throws(() => readOptions(['--seconds', 'x']), /--seconds/)
  t.throws(() => readOptions(['--fast']), /npm run bench -- --help/)
})

t.test(
  'a tiny run measures, compares the books, writes both reports and leaves nothing behind',
  async (t) => {
    const folder = t.testdir()
    const args = [
      '--quick',
      '--rounds',
      '1',
      '--seconds',
      '0.2',
      '--connections',
      '8',
      '--only',
      'reads,memory',
    ]
    const { PATH, HOME } = process.env
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', 'bench/run.ts', ...args, '--out', join(folder, 'out')],
      { cwd: root, env: { PATH, HOME, TMPDIR: folder }, stdio: ['ignore', 'pipe', 'pipe'] },
    )
    t.teardown(() => child.kill('SIGKILL'))
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text))
    const [code] = await once(child, 'close')
    t.equal(code, 0, output)
    t.notOk(output.includes('\x1b'), 'plain lines')
    const report = await readFile(join(folder, 'out', 'report.md'), 'utf8')
    t.match(report, /product reads\/s ÷ bare GET \(b\) +\| 8 +\| \d/)
    t.match(report, /bytes per live hold ÷ a key a hold +\| - +\| \d/)
    t.match(report, /always agreed/)
    t.match(report, /3 Sold out +\| 0 \+ 0 \+ 0 \+ 1 = 1 +\| agrees/)
    const page = await readFile(join(folder, 'out', 'report.html'), 'utf8')
    t.match(page, /<svg /)
    t.notMatch(page, /(src|href)=/, 'the page needs nothing else')
    t.strictSame(
      (await readdir(folder)).filter((name) => name.startsWith('holdfast-')),
      [],
    )
  },
)
