import t from 'tap'
import { type Entry, makeEntry } from '../../src/engine/records.ts'
import { createTries } from '../../src/journal/tries.ts'
import { type App, build } from '../fixtures/app.ts'

/** As often as PostgreSQL may refuse an entry. */
const TRIES = 5
/** As many refused entries as one process counts for. */
const COUNTED = 1_000
const refused = new Error('it is no order')

/** An entry that waits in the journal. */
async function waiting(app: App): Promise<Entry> {
  const hold = await app.hold(await app.product(1))
  const made = await app.engine.createOrder(hold.hold_id.slice('hld_'.length), null)
  if (made.status !== 'created') throw new Error(made.status)
  return made.entry
}

async function openTries(app: App) {
  const alarms: string[] = []
  const { note, forget } = createTries(app.engine, (alarm) => alarms.push(alarm))
  const noteTimes = async (entry: Entry, count: number) => {
    for (let tries = 0; tries < count; tries += 1) await note(entry, refused)
  }
  return { note, forget, noteTimes, alarms }
}

/** Entries of others, which are in no journal any more. */
const others = (count: number): Entry[] =>
  Array.from({ length: count }, (_, at) => makeEntry({ shard: 0, entry_id: `1-${at}`, epoch: 1 }, {}))

const app = await build(t)
const isBuried = async ({ entry_id }: Entry) =>
  (await app.engine.journal.readEntry(0, entry_id)) === undefined

t.test('an entry that PostgreSQL refuses too often is set aside, with the reason', async (t) => {
  const { noteTimes, alarms } = await openTries(app)
  const entry = await waiting(app)
  await noteTimes(entry, TRIES - 1)
  t.notOk(await isBuried(entry))
  await noteTimes(entry, 1)
  t.ok(await isBuried(entry))
  t.match(await app.engine.journal.buriedEntries(0, 10), [{ entry: { order: entry.order } }])
  t.match(alarms.at(-2), /\(try 5\): it is no order/)
  t.match(alarms.at(-1), /was set aside/)
})

t.test('what was written meanwhile begins anew', async (t) => {
  const { noteTimes, forget } = await openTries(app)
  const entry = await waiting(app)
  await noteTimes(entry, TRIES - 1)
  forget([entry])
  await noteTimes(entry, TRIES - 1)
  t.notOk(await isBuried(entry))
  await noteTimes(entry, 1)
  t.ok(await isBuried(entry))
})

t.test('an entry that is in no journal is not counted', async (t) => {
  const { noteTimes, alarms } = await openTries(app)
  await noteTimes({ ...(await waiting(app)), entry_id: '' }, TRIES)
  t.same(alarms, [])
})

for (const [what, count, is_forgotten] of [
  ['as many refused entries are counted for as there may be', COUNTED - 1, false],
  ['with one more the oldest begins anew: no more are remembered', COUNTED, true],
] as const) {
  t.test(what, async (t) => {
    const { note, noteTimes } = await openTries(app)
    const entry = await waiting(app)
    await noteTimes(entry, TRIES - 1)
    const neighbours = others(count)
    for (const one of neighbours) await note(one, refused)
    // One that is counted already takes nobody's place.
    if (!is_forgotten) await note(neighbours.at(-1) as Entry, refused)
    await noteTimes(entry, 1)
    t.equal(await isBuried(entry), !is_forgotten)
  })
}
