import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type App, build } from '../fixtures/app.ts'
import { createDatabase } from '../fixtures/database.ts'
import type { ProductBody } from '../fixtures/resources.ts'
import { until } from '../fixtures/until.ts'
import { openOwnRedis } from './fixtures/own-redis.ts'
import { newPrefix } from './fixtures/sale.ts'

/** No server is stalled here: only the machine may be slow. */
const PATIENCE_MS = 5_000
const SLACK_MS = 2_000
const NOTICED_WITHIN_MS = 3_000
const TAKEN_WITHIN_MS = 10_000
/** Longer than anybody counts as living who says nothing. */
const STAYS_CLOSED_MS = 6_000
const LOOK_MS = 250

/** A service on a Redis that will be the old master, and what opens another one on the new master: its database is the same. */
async function open(t: Test) {
  const [old_master, new_master] = [await openOwnRedis(t), await openOwnRedis(t)]
  const database = await createDatabase(t)
  const prefix = newPrefix()
  const openOn = ({ redis, url }: typeof old_master) =>
    build(t, { beside: { prefix, database, redis }, redis_url: url, patience_ms: PATIENCE_MS })
  const cut_off = await openOn(old_master)
  const terms = { name: 'Shoe', unit_amount: 9900, currency: 'USD', total_stock: 20 }
  const { id } = await cut_off.expect<ProductBody>(201, cut_off.call('POST', '/api/products', terms))
  return { cut_off, id, database, openFresh: () => openOn(new_master) }
}

async function epochOf(app: App): Promise<number> {
  const [shard] = await app.sql<{ epoch: number }>('select epoch from shards where shard = 0')
  return Number(shard?.epoch)
}

/** Asserts that a service refuses all, and rebuilds nothing, while another one has its shard. */
async function staysClosed(t: Test, cut_off: App, fresh: App, id: number): Promise<void> {
  const epoch = fresh.engine.fence.epoch(0)
  const seen = new Set<string>()
  for (const end_ms = Date.now() + STAYS_CLOSED_MS; Date.now() < end_ms; await wait(LOOK_MS)) {
    const hold = await cut_off.call('POST', '/api/holds', { product_id: id, qty: 1 })
    const ready = await cut_off.call('GET', '/readyz')
    seen.add(`hold ${hold.status}, ready ${ready.status}, epoch ${await epochOf(fresh)}`)
  }
  t.same([...seen], [`hold 503, ready 503, epoch ${epoch}`], 'it stays closed while the other one lives')
  t.ok(fresh.engine.fence.isOpen(0), 'which goes on')
  t.match(
    cut_off.log.find((line) => /can not be opened yet/.test(line)),
    `another Redis has the shard, and others use it in epoch ${epoch}`,
  )
}

/** Waits until a service has the shard for itself. */
async function takesOver(t: Test, cut_off: App): Promise<void> {
  const started_ms = performance.now()
  const isReady = async () => (await cut_off.call('GET', '/readyz')).status === 200
  await until('it takes over', isReady, TAKEN_WITHIN_MS + SLACK_MS)
  t.pass(`it takes over by itself, ${Math.round(performance.now() - started_ms)} ms after the other one`)
}

t.test('a service on an old master stays closed until the one on the new master is gone', async (t) => {
  const { cut_off, id, openFresh } = await open(t)
  const kept = await cut_off.hold(id, 2)
  const sold_before = await cut_off.order(await cut_off.hold(id, 3))
  await until('the journal is empty', async () => (await cut_off.journal()) === 0)
  const fresh = await openFresh()
  const started_ms = performance.now()
  await until('it notices', () => !cut_off.engine.fence.isOpen(0))
  const took_ms = Math.round(performance.now() - started_ms)
  t.ok(took_ms < NOTICED_WITHIN_MS + SLACK_MS, `it notices without any request, after ${took_ms} ms`)
  const order = await fresh.order(await fresh.hold(id, 4))
  await staysClosed(t, cut_off, fresh, id)
  await fresh.paid(order.order_id, 'success')
  const epoch = await epochOf(fresh)
  await fresh.close()
  await takesOver(t, cut_off)
  t.equal(await epochOf(cut_off), epoch + 1, 'by a rebuild')
  t.match(await cut_off.readOrder(order.order_id), { payment_status: 'paid' })
  t.match(await cut_off.stock(id), { total: 20, held: 2, pending: 3, sold: 4 })
  t.match(await cut_off.order(kept), { order_status: 'pre-payment' }, 'a hold that fits still')
  t.match(await cut_off.paid(sold_before.order_id, 'success'), { outcome: 'applied' })
  await cut_off.agree(t, 'afterwards')
})

t.test('so does one whose entry was refused as late, which is written when it takes over', async (t) => {
  const { cut_off, id, openFresh } = await open(t)
  const hold = await cut_off.hold(id, 5)
  const created = await cut_off.engine.createOrder(hold.hold_id.slice(4), null)
  if (created.status !== 'created') throw new Error(created.status)
  const fresh = await openFresh()
  // It may have looked for the new master behind its Redis's address meanwhile: its connection is another one then.
  await t.rejects(cut_off.service.writer.commit(created.entry), { name: 'UnavailableError' })
  t.notOk(cut_off.engine.fence.isOpen(0), 'its fence is closed')
  t.same(await fresh.sql('select 1 from orders'), [], 'and nothing is written')
  await staysClosed(t, cut_off, fresh, id)
  await fresh.order(await fresh.hold(id, 6))
  await fresh.close()
  await takesOver(t, cut_off)
  t.match(await cut_off.readOrder(hold.order_id), { order_status: 'pre-payment', qty: 5 })
  t.match(await cut_off.stock(id), { total: 20, available: 9, pending: 11 })
  await cut_off.agree(t, 'afterwards')
})

t.test('control: where nobody says which shards he uses, they take them from each other', async (t) => {
  const { cut_off, database, openFresh } = await open(t)
  await database.query(`create function say_nothing() returns trigger language plpgsql as $$ begin
    new.epochs := '{}';
    return new;
  end $$`)
  await database.query(
    'create trigger silent before insert or update on writers for each row execute function say_nothing()',
  )
  const epoch = await epochOf(cut_off)
  await openFresh()
  await until('several rebuilds', async () => (await epochOf(cut_off)) >= epoch + 4, 20_000)
  t.pass('and none of them is ever done')
})
