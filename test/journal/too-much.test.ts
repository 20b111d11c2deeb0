import t, { type Test } from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import { writerOn } from './fixtures/writer-on.ts'

/* A product that is worth as much as can be counted: units can be added only once PostgreSQL has heard of those that were taken out. */
const MOST = { units: 900_719_925, unit_amount: 1_000_000 }
const DELTA = 100

/** Units were taken out, and nobody has told PostgreSQL; then as many are added. */
async function change(t: Test) {
  const app = await build(t)
  const product = await app.product(MOST.units, { unit_amount: MOST.unit_amount })
  const taken = await app.engine.adjustStock(product, -DELTA, newKey(), null)
  t.equal(taken.status, 'adjusted')
  const added = await app.engine.adjustStock(product, DELTA, newKey(), null)
  if (added.status !== 'adjusted') throw new Error(added.status)
  return { app, product, entry: added.entry }
}

t.test('units may be added though those that were taken out before are not committed', async (t) => {
  const { app, product, entry } = await change(t)
  t.equal(await app.service.writer.commit(entry), 'committed')
  t.match(await app.stock(product), { total: MOST.units })
  await app.agree(t, 'afterwards')
})

t.test('control: where nobody looks for those, the change is refused', async (t) => {
  const { app, entry } = await change(t)
  const { writer } = writerOn(app, { async *pages() {} })
  t.equal(await writer.commit(entry), 'refused')
})
