import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { identify } from '../../src/embedded/process.ts'
import { readLive, type State, takeOwnership } from '../../src/embedded/state.ts'

/** A state as a process would leave it that was killed while it had the folder. */
async function writeDead(data_dir: string, number: number, changes: Partial<State> = {}): Promise<void> {
  const { dev, ino } = await stat(data_dir)
  const owner = { pid: process.pid, started: 'long ago' }
  const state: State = { owner, folder: `${dev}:${ino}`, is_ready: true, ...changes }
  await writeFile(join(data_dir, `servers-${number}.json`), JSON.stringify(state))
}

t.test('of many that want a folder at once, one gets it', async (t) => {
  const data_dir = t.testdir()
  await writeDead(data_dir, 4)
  const results = await Promise.all(Array.from({ length: 40 }, () => takeOwnership(data_dir)))
  t.equal(results.filter(Boolean).length, 1)
  t.strictSame(await readdir(data_dir), ['servers-5.json'], 'and nothing else is left in it')
})

t.test('the owner before is named only if it never gave the folder back', async (t) => {
  const data_dir = t.testdir()
  const first = await takeOwnership(data_dir)
  t.equal(first?.before, undefined)
  await first?.record({ is_ready: true, redis: { port: 1 } })
  t.match(await readLive(data_dir), { is_ready: true, redis: { port: 1 } })
  t.equal(await takeOwnership(data_dir), undefined, 'as long as it lives nobody else gets it')
  await first?.release()
  t.equal(await readLive(data_dir), undefined)
  t.equal((await takeOwnership(data_dir))?.before, undefined)
})

t.test('what a killed owner left behind is told to the next', async (t) => {
  const data_dir = t.testdir()
  await writeDead(data_dir, 1, { redis: { port: 7, id: { pid: 8, started: 'then' } } })
  const ownership = await takeOwnership(data_dir)
  t.strictSame(ownership?.before?.redis, { port: 7, id: { pid: 8, started: 'then' } })
  t.strictSame(
    (await readLive(data_dir))?.redis,
    { port: 7, id: { pid: 8, started: 'then' } },
    'and not forgotten',
  )
})

t.test('records follow one another in the order in which they were made', async (t) => {
  const data_dir = t.testdir()
  const ownership = await takeOwnership(data_dir)
  await Promise.all([1, 2, 3, 4, 5].map((port) => ownership?.record({ is_ready: false, redis: { port } })))
  t.match(await readLive(data_dir), { redis: { port: 5 } })
})

t.test('the record of another folder, and one cut off, count as none', async (t) => {
  const data_dir = t.testdir()
  const owner = (await identify(process.pid)) ?? null
  await writeDead(data_dir, 1, { owner, folder: '1:1' })
  t.equal(await readLive(data_dir), undefined, 'this is a copy of the folder that the owner has')
  await writeFile(join(data_dir, 'servers-2.json'), '{"owner": {"pi')
  t.ok(await takeOwnership(data_dir))
})

t.test('a record is for its owner alone to read', async (t) => {
  const data_dir = t.testdir()
  await (await takeOwnership(data_dir))?.release()
  t.equal((await stat(join(data_dir, 'servers-1.json'))).mode & 0o777, 0o600)
  t.match(JSON.parse(await readFile(join(data_dir, 'servers-1.json'), 'utf8')), { owner: null })
})
