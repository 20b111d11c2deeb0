import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { build } from '../fixtures/app.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const TEXT = readFileSync(join(ROOT, 'docs/client.md'), 'utf8')
const [, EXAMPLE = '', OUTPUT = ''] = /```ts\n(.*?)```\n\n```\n(.*?)```/s.exec(TEXT) ?? []
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')
const run = promisify(execFile)

t.test('the example of the client runs in a shop of its own and prints what is shown', async (t) => {
  const secret = `whsec_${randomBytes(32).toString('base64')}`
  const app = await build(t, { env: { WEBHOOK_SECRETS: secret } })
  t.equal(await app.product(100), 1, 'the first product of a new database')
  t.match(EXAMPLE, 'http://127.0.0.1:3000')

  // A shop that has installed this folder, as npm install ../holdfast does.
  const shop = t.testdir({
    'package.json': '{"type":"module"}',
    'shop.ts': EXAMPLE.replace('http://127.0.0.1:3000', app.origin),
  })
  await mkdir(join(shop, 'node_modules'))
  await symlink(ROOT, join(shop, 'node_modules/holdfast'))
  const compilerOptions = {
    ...{ target: 'ES2023', module: 'NodeNext', strict: true, noEmit: true, skipLibCheck: true },
    ...{ allowImportingTsExtensions: true, types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] },
  }
  await writeFile(join(shop, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['shop.ts'] }))

  const options = { cwd: shop, env: { ...process.env, WEBHOOK_SECRET: secret } }
  const { stdout } = await run(process.execPath, ['--import', import.meta.resolve('tsx'), 'shop.ts'], options)
  t.equal(stdout, OUTPUT)
  const checked = await run(process.execPath, [TSC, '-p', shop], options).catch((error) => error)
  t.equal(checked.stdout, '', 'its types are right')
})
