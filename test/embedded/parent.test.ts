import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'
import { watchParent } from '../../src/embedded/parent.ts'

t.test('a program learns that the process which started it was killed', async (t) => {
  const program = join(import.meta.dirname, 'fixtures', 'watch.ts')
  const shell = spawn('sh', ['-c', `"${process.execPath}" --import tsx "${program}"; true`], {
    stdio: 'pipe',
  })
  const lines = createInterface({ input: shell.stdout })[Symbol.asyncIterator]()
  t.match((await lines.next()).value, /^\d+$/, 'it runs')
  shell.kill('SIGKILL')
  await once(shell, 'exit')
  t.equal((await lines.next()).value, 'gone')
  t.ok((await lines.next()).done, 'it ended, for it watches no longer')
})

t.test('watching ends when it is told to', async (t) => {
  const countTimers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = countTimers()
  const stop = watchParent(() => t.fail('the parent of this test is not gone'))
  t.equal(countTimers(), before + 1)
  stop()
  t.equal(countTimers(), before)
})
