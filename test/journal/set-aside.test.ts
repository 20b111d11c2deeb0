import t, { type Test } from 'tap'
import { redriveBuried } from '../../src/journal/recovery.ts'
import { type App, build } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { writerOn } from './fixtures/writer-on.ts'

/*
  What makes room for an order may be refused for its data and set aside. As long as an operator can bring it back, the floor's refusal of
  the order is no verdict: it is set aside beside it, and both are written in the end.
*/

const refuse = (when: string) => `create function refuse_it() returns trigger language plpgsql as $$
  begin
    if ${when} then raise exception 'refused' using errcode = 'check_violation'; end if;
    return new;
  end $$;
  create trigger refuse_it before insert or update on orders for each row execute function refuse_it()`
const MEND = 'drop trigger refuse_it on orders'
const idOf = ({ hold_id }: { hold_id: string }) => hold_id.slice('hld_'.length)

/** Commits all that the journal has until so many entries were set aside. */
async function setAside(app: App, count: number): Promise<void> {
  await until('it is set aside', async () => {
    for (const entry of await app.engine.journal.entries(0, 10))
      await app.service.writer.commit(entry).catch(() => {})
    return (await app.engine.journal.buriedLength(0)) >= count
  })
}

/** A unit that is free in Redis, by a cancellation that was set aside, and held again. */
async function freed(t: Test) {
  const app = await build(t)
  const product = await app.product(1)
  const first = await app.order(await app.hold(product))
  await app.sql(refuse(`new.order_status = 'cancelled'`))
  await app.engine.cancelOrder(idOf(first))
  await setAside(app, 1)
  return { app, hold: await app.hold(product) }
}

t.test('an order whose room was set aside is not refused, and written in the end', async (t) => {
  const { app, hold } = await freed(t)
  const headers = { 'idempotency-key': 'again' }
  t.equal((await app.call('POST', '/api/orders', { hold_id: hold.hold_id }, { headers })).status, 503)
  await setAside(app, 2)
  await app.sql(MEND)
  const { writer } = writerOn(app)
  t.same(await redriveBuried(app.engine, writer, 0), { written: 2, refused: [] })
  await until('an open shard', () => app.engine.fence.isOpen(0))
  t.match(await app.call('POST', '/api/orders', { hold_id: hold.hold_id }, { headers }), { status: 201 })
  await app.agree(t, 'afterwards')
})

t.test('one that has the room back by then is written at once', async (t) => {
  const { app, hold } = await freed(t)
  await app.sql(MEND)
  const { writer } = writerOn(app)
  t.match(await redriveBuried(app.engine, writer, 0), { written: 1 })
  t.match(await app.call('POST', '/api/orders', { hold_id: hold.hold_id }), { status: 201 })
  await app.agree(t, 'afterwards')
})

t.test('control: where nobody looks for what was set aside, the order is refused', async (t) => {
  const { app, hold } = await freed(t)
  const made = await app.engine.createOrder(idOf(hold), null)
  if (made.status !== 'created') throw new Error(made.status)
  const { writer } = writerOn(app, { buriedEntries: async () => [] })
  t.equal(await writer.commit(made.entry), 'refused')
})

t.test('what makes room is brought back first, whatever was set aside before it', async (t) => {
  const app = await build(t)
  const product = await app.product(1)
  const first = await app.order(await app.hold(product))
  await app.sql(refuse('true'))
  await app.engine.cancelOrder(idOf(first))
  const [cancelled] = await app.engine.journal.entries(0, 1)
  const hold = await app.hold(product)
  const made = await app.engine.createOrder(idOf(hold), null)
  if (made.status !== 'created' || !cancelled) throw new Error(made.status)
  const bury = (id: string) => app.engine.journal.buryEntry(0, id, 'for this test')
  await bury(made.entry.entry_id)
  await bury(cancelled.entry_id)
  await app.sql(MEND)
  const { writer } = writerOn(app)
  t.same(await redriveBuried(app.engine, writer, 0), { written: 2, refused: [] })
  await app.agree(t, 'afterwards')
})
