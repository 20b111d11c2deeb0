import t from 'tap'
import { build } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'

/*
  A journal has some hundred orders that nobody has committed, and one entry that PostgreSQL refuses for its data. Its neighbours must not
  be written one by one for that: on a disk that takes longer than anybody waits, and the rebuild would begin again and again.
*/
const COUNT = 600
/** Of three batches one is refused: its halves, their halves, and so on. */
const MAX_STATEMENTS = 60
const COMMIT_MS = 8
const env = { HOLD_TTL_SECONDS: '3600', ORDER_TTL_SECONDS: '3600' }
const idOf = ({ hold_id }: { hold_id: string }) => hold_id.slice('hld_'.length)

t.test('one bad entry among many costs a rebuild some transactions more, not one for each', async (t) => {
  const app = await build(t, { env })
  const product = await app.product(COUNT + 1)
  const bad = await app.order(await app.hold(product))
  await app.engine.cancelOrder(idOf(bad))
  await app.sql(`update orders set history = '9-9' where id = $1`, [bad.order_id])
  for (let made = 0; made < COUNT; made += 50) {
    const holds = await Promise.all(Array.from({ length: 50 }, () => app.hold(product)))
    await app.engine.createOrders(0, holds.map(idOf))
  }
  // What is rolled back counts as well: a sequence never goes back.
  await app.sql(`create sequence statements; create function count_it() returns trigger language plpgsql as $$
    begin perform nextval('statements'), pg_sleep(${COMMIT_MS / 1_000}); return null; end $$;
    create trigger count_it after insert on orders for each statement execute function count_it()`)
  const epoch = app.engine.fence.lastEpoch(0) ?? 0
  app.engine.fence.close(0, 'for this test', 'wrong')
  await until('an open shard', () => app.engine.fence.isOpen(0))
  const [{ statements = 0 } = {}] = await app.sql<{ statements: number }>(
    'select last_value::int as statements from statements',
  )
  t.ok(statements > 1 && statements < MAX_STATEMENTS, `${statements} statements`)
  t.comment(`epoch ${epoch}, then ${app.engine.fence.lastEpoch(0)}`)
  const [{ orders = 0 } = {}] = await app.sql<{ orders: number }>(
    'select count(*)::int as orders from orders',
  )
  t.equal(orders, COUNT + 1)
  await app.agree(t, 'afterwards')
})
