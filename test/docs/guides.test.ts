import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import t from 'tap'
import { errorsPage } from '../../scripts/errors-page.ts'
import { build } from '../fixtures/app.ts'
import { testRedisUrl } from '../fixtures/connect.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const GUIDES = readdirSync(join(ROOT, 'docs'))
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`)
const PAGES = [...GUIDES, 'README.md', 'ARCHITECTURE.md', 'BENCHMARKS.md', 'CHANGELOG.md']
const RUNNABLE = /<!-- runnable -->\n```sh\n(.*?)```/gs

/** The anchors that GitHub gives to the headings of a page. */
const anchorsOf = (text: string) =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

t.test('docs/errors.md is what the code says', async (t) => {
  t.ok(read('docs/errors.md') === errorsPage(), 'else: npm run docs:generate')
})

t.test('no link between the pages is dead', async (t) => {
  for (const page of PAGES) {
    for (const [, link = ''] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue
      const [file = '', anchor] = link.split('#')
      const path = file === '' ? page : join(dirname(page), file)
      t.ok(existsSync(join(ROOT, path)), `${page}: ${link}`)
      if (anchor !== undefined) t.ok(anchorsOf(read(path)).includes(anchor), `${page}: ${link}`)
    }
  }
})

t.test('the guide for operators has every environment variable', async (t) => {
  const text = read('docs/operators.md')
  const [, block = ''] = /const Env = Type\.Object\(\{\n(.*?)\n\}\)/s.exec(read('src/config.ts')) ?? []
  const variables = [...block.matchAll(/^ {2}([A-Z_]+):/gm)].map(([, name]) => name)
  t.ok(variables.length > 15)
  for (const name of variables) t.match(text, `\`${name}\``)
})

t.test('what the guides mark as runnable runs', async (t) => {
  const blocks = GUIDES.flatMap((page) => [...read(page).matchAll(RUNNABLE)].map(([, block = '']) => block))
  t.ok(blocks.length >= 2)
  for (const block of blocks) {
    const app = await build(t)
    t.equal(await app.product(100), 1)
    t.match(block, 'http://127.0.0.1:3000')
    const commands = block.replaceAll('http://127.0.0.1:3000', app.origin)
    const options = { cwd: ROOT, env: { ...process.env, SECONDS_OF_LOAD: '1' } }
    const result = await promisify(execFile)('bash', ['-euc', commands], options).catch((error) => error)
    t.notOk(result.code, `${block.slice(0, 60)}: ${result.stderr}`)
    if (block.includes('autocannon')) t.notMatch(result.stderr, /non 2xx|errors \(/, 'all requests succeed')
    if (block.includes('/stream')) t.match(result.stdout, /^event: stock\ndata: \{"total":100,/)
  }
})

t.test('the script for wrk is Lua', async (t) => {
  const [, script = ''] = /<<LUA\n(.*?)LUA$/ms.exec(read('docs/load-testers.md')) ?? []
  t.match(script, /wrk\.method = "POST"/)
  const redis = new Redis(testRedisUrl())
  t.teardown(() => redis.disconnect())
  // Redis compiles it, as wrk does, and does not run it.
  await redis.script('LOAD', script)
  await t.rejects(redis.script('LOAD', `${script}(`), /compiling/, 'control: what is no Lua is refused')
})
