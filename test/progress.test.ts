import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { openGround, start } from './fixtures/program.ts'

const REDIS_DB = 15
const SCRIPT = '/usr/bin/script'
const PROGRESS = fileURLToPath(new URL('../src/progress.mjs', import.meta.url))
const ESCAPE = '\x1b'

/** Runs work that takes so long, says something in the middle, and answers what came out. */
async function work(ms: number, is_terminal: boolean): Promise<string> {
  const program = `
    import { setTimeout } from 'node:timers/promises'
    import { clearProgress, showProgress } from ${JSON.stringify(PROGRESS)}
    await showProgress('packing', async (note) => {
      note('1 of 2')
      await setTimeout(${ms})
      clearProgress()
      process.stderr.write('said meanwhile\\n')
    })`
  const command = [process.execPath, '--input-type=module', '-e', program]
  const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
  const [name = '', ...args] = is_terminal ? [SCRIPT, '-qec', quoted, '/dev/null'] : command
  const env = { PATH: process.env.PATH, TERM: 'xterm' }
  const child = spawn(name, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text))
  await once(child, 'close')
  return output
}

t.test('work that takes long says so in plain lines where there is no terminal', async (t) => {
  t.match(await work(3_000, false), /^holdfast: packing \(1 of 2\): \d s\nsaid meanwhile\n$/)
})

t.test('work that is done soon says nothing', async (t) => {
  t.equal(await work(100, false), 'said meanwhile\n')
})

t.test(
  'on a terminal one line is written over, and gone when something else is said',
  { skip: process.platform === 'linux' && existsSync(SCRIPT) ? false : 'there is no script(1)' },
  async (t) => {
    const output = (await work(4_500, true)).replaceAll(ESCAPE, 'ESC')
    const shown = output.match(/\rholdfast: packing \(1 of 2\): \d s/g) ?? []
    t.ok(shown.length >= 3, output)
    t.match(output, /\d sESC\[K\rESC\[Ksaid meanwhile\r?\n$/)
    t.notMatch(output, / s\n/)
  },
)

t.test('a verification that takes long tells how far it is, in plain lines', async (t) => {
  const ground = await openGround(t, REDIS_DB)
  // Shards that differ are looked at three times.
  const epochs = `select at, 9, 'none' from generate_series(0, 5) as at`
  await ground.sql(`insert into shards (shard, epoch, redis_identity) ${epochs}`)
  const { ended, output } = start(t, 'verify', { ...ground.env, STOCK_SHARDS: '6' })
  t.match(await ended, { code: 1 })
  t.match(output.stderr, /^holdfast: comparing Redis with PostgreSQL \(shard \d of 6\): \d s\n/)
  t.notOk((output.stderr + output.stdout).includes(ESCAPE))
  t.match(output.stdout, /^shard 5: Redis has epoch none, PostgreSQL expects 9$/m)
})
