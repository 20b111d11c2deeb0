import t from 'tap'
import { createMark } from '../../src/db/marks.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { createWriter } from '../../src/journal/writer.ts'
import { build, newKey } from '../fixtures/app.ts'

for (const [what, remembered, is_noticed] of [
  ['a PostgreSQL from the past has no say in whether there are units for an order', {}, true],
  [
    'control: where nobody looks at the marks, it refuses a right order for good',
    { marks: async () => [] } as Partial<Engine['remembered']>,
    false,
  ],
] as const) {
  t.test(what, async (t) => {
    const app = await build(t)
    // It does not come to look by itself.
    await app.service.recovery.close()
    const product = await app.product(1)
    await app.order(await app.hold(product))
    const stock = `/api/products/${product}/stock`
    const headers = { 'idempotency-key': newKey() }
    t.match(await app.call('POST', stock, { delta: 2 }, { headers }), { status: 200 })
    const hold = await app.hold(product, 2)
    await app.service.writer.drained()
    // The commit that added them is lost.
    await app.sql('delete from stock_adjustments')
    await app.sql('update products set total = 1 where id = $1', [product])
    await app.sql(`update writers set commits = commits - 1 where writer like '% writer'`)

    const engine = { ...app.engine, remembered: { ...app.engine.remembered, ...remembered } }
    const told = { past: 0, alarms: [] as string[] }
    const writer = createWriter({
      db: app.service.db,
      engine,
      mark: createMark(newKey()),
      on_alarm: (alarm) => told.alarms.push(alarm),
      on_past: () => {
        told.past += 1
      },
    })
    const made = await engine.createOrder(hold.hold_id.slice('hld_'.length), null)
    if (made.status !== 'created') throw new Error(made.status)
    const answer = await writer.commit(made.entry).catch((error: { code: string }) => error.code)
    await writer.drained()
    if (is_noticed) {
      t.equal(answer, 'recovering')
      t.same(told, { past: 1, alarms: [] })
      t.match(
        await engine.journal.entries(0, 10),
        [{ order: { id: made.order.id } }],
        'it waits in the journal',
      )
    } else {
      t.equal(answer, 'refused')
      t.match(told, { past: 0, alarms: [/oversold/] })
      t.same(await engine.journal.entries(0, 10), [])
    }
  })
}
