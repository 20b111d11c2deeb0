import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import t from 'tap'
import { build } from '../fixtures/app.ts'

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
const [, COMMANDS = '', OUTPUT = ''] = /<!-- funnel -->\n```sh\n(.*?)```\n\n```\n(.*?)```/s.exec(README) ?? []
const IDS = /(hld|ord)_[A-Za-z0-9_-]{34}/g

/** A line of the README, where … stands for what it leaves out, as an expression that the real line has to match. */
function expression(line: string): RegExp {
  const parts = line.replace(IDS, '$1_ID').split('…')
  return new RegExp(`^${parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*')}$`)
}

t.test('the sale that the README shows works word for word and prints what it shows', async (t) => {
  const app = await build(t)
  const product_id = await app.product(100)
  t.equal(product_id, 1, 'the first product of a new database')
  t.match(COMMANDS, 'http://127.0.0.1:3000/api')
  const commands = COMMANDS.replace('http://127.0.0.1:3000', app.origin)
  const { stdout } = await promisify(execFile)('bash', ['-euc', commands])
  const lines = stdout.trim().replace(IDS, '$1_ID').split('\n')
  const shown = OUTPUT.trim().split('\n')
  t.equal(lines.length, shown.length)
  for (const [at, line] of shown.entries()) t.match(lines[at], expression(line))
})
