import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { build } from '../fixtures/app.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const read = (page: string) => readFileSync(join(ROOT, 'docs', page), 'utf8')
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')
const run = promisify(execFile)
/** A program takes seconds to start on a busy machine; the unit is still held by then. */
const HELD_MS = 10_000

/** Runs an example in a shop that has installed this folder, as npm install ../holdfast does. Answers what it prints. */
async function runInShop(t: Test, origin: string, example: string, env: Record<string, string> = {}) {
  t.match(example, 'http://127.0.0.1:3000')
  const shop = t.testdir({
    'package.json': '{"type":"module"}',
    'shop.ts': example.replace('http://127.0.0.1:3000', origin),
  })
  await mkdir(join(shop, 'node_modules'))
  await symlink(ROOT, join(shop, 'node_modules/holdfast'))
  const compilerOptions = {
    ...{ target: 'ES2023', module: 'NodeNext', strict: true, noEmit: true, skipLibCheck: true },
    ...{ allowImportingTsExtensions: true, types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] },
  }
  await writeFile(join(shop, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['shop.ts'] }))

  const options = { cwd: shop, env: { ...process.env, ...env } }
  const { stdout } = await run(process.execPath, ['--import', import.meta.resolve('tsx'), 'shop.ts'], options)
  const checked = await run(process.execPath, [TSC, '-p', shop], options).catch((error) => error)
  t.equal(checked.stdout, '', 'its types are right')
  return stdout
}

t.test('the example of the client runs in a shop of its own and prints what is shown', async (t) => {
  const [, example = '', output = ''] = /```ts\n(.*?)```\n\n```\n(.*?)```/s.exec(read('client.md')) ?? []
  const secret = `whsec_${randomBytes(32).toString('base64')}`
  const app = await build(t, { env: { WEBHOOK_SECRETS: secret } })
  t.equal(await app.product(100), 1, 'the first product of a new database')
  t.equal(await runInShop(t, app.origin, example, { WEBHOOK_SECRET: secret }), output)
})

t.test('the example for shop developers waits until a unit comes back, and orders it', async (t) => {
  const [, example = ''] = /<!-- runnable -->\n```ts\n(.*?)```/s.exec(read('shop-developers.md')) ?? []
  const app = await build(t)
  t.equal(await app.product(1, { hold_ttl_ms: HELD_MS }), 1)
  await app.hold(1)
  t.equal(await runInShop(t, app.origin, example), 'pending\n')
  const { text } = await app.call('GET', '/metrics')
  t.match(text, /^holdfast_holds_total\{.*"insufficient_stock".*\} [12]$/m, 'it was refused before')
})
