import t, { type Test } from 'tap'
import { checkSale, createClient, newLedger, startSale } from '../faults/fixtures/sale.ts'
import { type App, build, newKey } from '../fixtures/app.ts'
import type { HoldBody, OrderBody } from '../fixtures/resources.ts'
import { whenExtendable } from '../fixtures/until.ts'
import { actingAt, dyingAt, isWhole, openMover } from './fixtures/mover.ts'
import { loseLocks, spoiledIn, stateOf } from './fixtures/state.ts'

const env = { STOCK_SHARDS: '3' }
const FROM = 0
const TO = 2
const UNITS = 100
const MOVES = 12
/** The first step of a move after PostgreSQL has committed it. */
const FIRST_AFTER_COMMIT = 5

/** What hangs on the ids of a product, in every state that it can have. */
async function stockUp(app: App, id: number) {
  const [kept, extended, used, released] = [
    await whenExtendable(app.hold(id)),
    await whenExtendable(app.hold(id)),
    await app.hold(id),
    await app.hold(id),
  ]
  await app.expect(200, app.call('POST', `/api/holds/${extended.hold_id}/extend`))
  await app.call('DELETE', `/api/holds/${released.hold_id}`)
  const paid_early = await app.hold(id)
  const early = await app.paid(paid_early.order_id, 'success')
  const unpaid = await app.order(used)
  const [paid, failed, mine] = [
    await app.order(await app.hold(id)),
    await app.order(await app.hold(id)),
    await app.order(await app.hold(id)),
  ]
  await app.paid(paid.order_id, 'success')
  await app.paid(failed.order_id, 'failed')
  const key = newKey()
  const keyed = await app.expect<HoldBody>(201, placeKeyed(app, id, key))
  const order_key = newKey()
  const ordered_hold = await app.hold(id)
  const ordered = await app.expect<OrderBody>(201, orderKeyed(app, ordered_hold, order_key))
  return {
    ...{ id, kept, extended, released, paid_early, early, unpaid, paid, failed, mine },
    ...{ key, keyed, order_key, ordered_hold, ordered },
  }
}

const placeKeyed = (app: App, product_id: number, key: string) =>
  app.call('POST', '/api/holds', { product_id, qty: 1 }, { headers: { 'idempotency-key': key } })
const orderKeyed = (app: App, { hold_id }: { hold_id: string }, key: string) =>
  app.call('POST', '/api/orders', { hold_id }, { headers: { 'idempotency-key': key } })

/** Everything goes on under the ids that were given out before. */
async function goesOn(t: Test, app: App, before: Awaited<ReturnType<typeof stockUp>>) {
  const { id, kept, extended, released, paid_early, early, unpaid, paid, failed, mine } = before
  t.match(await app.stock(id), { total: UNITS, held: 4, pending: 3, sold: 1 })
  t.equal(early.outcome, 'parked')
  t.match(await app.call('GET', `/api/holds/${kept.hold_id}`), { status: 200 })
  t.match(await app.call('POST', `/api/holds/${kept.hold_id}/extend`), { status: 200 })
  t.match(await app.order(extended), { order_status: 'pre-payment' }, 'an extended hold becomes an order')
  t.match(await app.order(paid_early), { order_status: 'confirmed' }, 'a payment waits for its order')
  t.match(await app.call('DELETE', `/api/holds/${kept.hold_id}`), { status: 204 })
  t.match(await app.call('DELETE', `/api/holds/${kept.hold_id}`), { status: 204 }, 'once more')
  const refused = await app.call('POST', '/api/orders', { hold_id: released.hold_id })
  t.match(refused, { status: 410, body: { code: 'hold_released' } })

  t.match(await app.readOrder(unpaid.order_id), { order_status: 'pre-payment' })
  const key = newKey()
  t.match(await app.paid(unpaid.order_id, 'success', {}, key), { outcome: 'applied' })
  t.match(await app.paid(unpaid.order_id, 'success', {}, key), {
    outcome: 'duplicate',
    first_outcome: 'applied',
  })
  t.match(await app.paid(paid.order_id, 'success'), { outcome: 'refund_due', reason: 'already_paid' })
  t.match(await app.paid(failed.order_id, 'success'), { outcome: 'applied' }, 'it takes its units again')
  t.match(await app.call('DELETE', `/api/orders/${mine.order_id}`), { status: 200 })

  const again = await placeKeyed(app, id, before.key)
  t.match(again, { status: 201, headers: { 'idempotency-replayed': 'true' } })
  t.match(again.body, { data: { hold_id: before.keyed.hold_id } }, 'a repeated request has its one effect')
  const ordered = await orderKeyed(app, before.ordered_hold, before.order_key)
  t.match(ordered, { status: 201, headers: { 'idempotency-replayed': 'true' } })
  t.match(ordered.body, { data: { order_id: before.ordered.order_id } })
  t.match(await app.stock(id), { total: UNITS, held: 1, pending: 2, sold: 4 })
  await app.agree(t, 'after all of it')
}

t.test('all that hangs on a product goes with it to another shard', async (t) => {
  const app = await build(t, { env })
  const beside = await build(t, { env, beside: app })
  const [id, neighbour] = [await app.product(UNITS), await app.product(UNITS)]
  await stockUp(app, id)
  const neighbours = [await app.hold(neighbour), await app.order(await app.hold(neighbour))] as const
  const { move } = openMover(t, app)
  t.same(await move([id], TO), { from: FROM, holds: 4, orders: 3 })
  await Promise.all([isWhole(app), isWhole(beside)])
  t.equal(app.engine.shardOfProduct(id), TO)
  t.match(await beside.hold(id), { status: 'active' }, 'it is sold there')
  t.match(await app.order(neighbours[0]), { order_status: 'pre-payment' }, 'what stays goes on')
  t.match(await app.paid(neighbours[1].order_id, 'success'), { outcome: 'applied' })
  await app.call('DELETE', `/api/holds/${(await app.hold(id)).hold_id}`)
  await app.agree(t, 'after the move')
  t.same(await move([id], TO), { from: TO, holds: 0, orders: 0 }, 'it is there already')
})

for (const [name, moves] of [
  ['after one move', [TO]],
  ['after two moves', [TO, 1]],
  ['after it came back', [TO, 1, FROM]],
] as const) {
  t.test(`what was given out before goes on ${name}`, async (t) => {
    const app = await build(t, { env })
    const other = await build(t, { env, beside: app })
    const before = await stockUp(app, await app.product(UNITS))
    const { move } = openMover(t, app)
    for (const to of moves) await move([before.id], to)
    await isWhole(other)
    await goesOn(t, other, before)
    const fresh = await build(t, { env, beside: app })
    t.match(await fresh.readOrder(before.unpaid.order_id), { payment_status: 'paid' }, 'a new process knows')
  })
}

t.test('control: who does not know of the move finds nothing under these ids', async (t) => {
  const app = await build(t, { env })
  const id = await app.product(UNITS)
  const hold = await app.hold(id)
  await openMover(t, app).move([id], TO)
  await app.sql('delete from product_moves')
  await isWhole(app)
  t.match(await app.call('GET', `/api/holds/${hold.hold_id}`), { status: 404 })
})

t.test('a mover that dies leaves the product where it was, or where it goes', async (t) => {
  const undisturbed = await build(t, { env })
  const { wrap, count } = dyingAt(0, 'before')
  await openMover(t, undisturbed, wrap).move([await undisturbed.product(UNITS)], TO)
  t.equal(count.taken, 6, 'both shards begin, two kinds of things are copied, both are rebuilt')
  for (let step = 1; step <= count.taken; step += 1) {
    for (const when of ['before', 'behind'] as const) {
      await t.test(`${when} step ${step}`, async (t) => {
        const app = await build(t, { env })
        const before = await stockUp(app, await app.product(UNITS))
        const { wrap } = dyingAt(step, when)
        await t.rejects(openMover(t, app, wrap).move([before.id], TO), /died/)
        await isWhole(app)
        const [row] = await app.sql<{ shard: number }>('select shard from products where id = $1', [
          before.id,
        ])
        t.equal(row?.shard, step < FIRST_AFTER_COMMIT ? FROM : TO)
        await app.agree(t, 'after it died')
        if (step % 2 === 0) {
          await openMover(t, app).move([before.id], TO)
          await isWhole(app)
        }
        await goesOn(t, app, before)
      })
    }
  }
})

t.test('a mover that loses its locks changes nothing that is rebuilt behind it', async (t) => {
  for (let step = 1; step <= 6; step += 1) {
    const app = await build(t, { env })
    const before = await stockUp(app, await app.product(UNITS))
    let state = {}
    const overtake = async () => {
      await loseLocks(app)
      for (const shard of [FROM, TO]) app.engine.fence.close(shard, 'its mover is gone', 'wrong')
      await isWhole(app)
      state = await stateOf(app)
    }
    const { wrap } = actingAt(step, 'before', overtake)
    await t.rejects(openMover(t, app, wrap).move([before.id], TO))
    t.same(spoiledIn(state, await stateOf(app)), [], `overtaken before step ${step}`)
    t.ok([FROM, TO].every(app.engine.fence.isOpen))
    t.equal(app.engine.shardOfProduct(before.id), step < FIRST_AFTER_COMMIT ? FROM : TO)
    await goesOn(t, app, before)
    await app.close()
  }
})

t.test('products that share carts or a shelf move together', async (t) => {
  const app = await build(t, { env })
  const [a, b, c] = [await app.product(UNITS), await app.product(UNITS), await app.product(UNITS)]
  const { move } = openMover(t, app)
  const cart = (...ids: number[]) => ({ items: ids.map((product_id) => ({ product_id, qty: 1 })) })
  const hold = await app.expect<HoldBody>(201, app.call('POST', '/api/holds', cart(a, b)))
  const refusal = (id: number) => ({
    message: `move product ${id} along, or wait until the carts that they share are paid or over`,
  })
  await t.rejects(move([a], TO), refusal(b))
  const order = await app.order(hold)
  await t.rejects(move([b], TO), refusal(a))
  await isWhole(app)
  await app.agree(t, 'where a move was refused')
  t.same(await move([a, b], TO), { from: FROM, holds: 0, orders: 1 })
  await isWhole(app)
  t.match(await app.paid(order.order_id, 'failed'), { outcome: 'applied' })
  t.same(await move([b], 1), { from: TO, holds: 0, orders: 0 }, 'a cart that is over binds nobody')
  await isWhole(app)
  const late = await app.paid(order.order_id, 'success')
  t.match(
    late,
    { outcome: 'refund_due', reason: 'no_units_left' },
    'its units can not be taken again together',
  )
  await app.sql(`update products set shelf = 'shoes' where id = any($1)`, [[a, c]])
  await t.rejects(move([c], TO), { message: `product ${c} does not live with the others: move it alone` })
  await app.sql(`update products set shelf = 'boots' where id = $1`, [a])
  const d = await app.product(UNITS)
  await app.sql(`update products set shelf = 'shoes' where id = $1`, [d])
  await t.rejects(move([c], TO), { message: `move product ${d} along: they stand on one shelf` })
  await t.rejects(move([9_999], TO), { message: 'there is no product 9999' })
  await t.rejects(move([a], 3), { message: 'there is no shard 3: the shards are 0 to 2' })
  const dead = app.engine.keys.shard(TO, 'dead')
  await app.redis.xadd(dead, '*', 'order', '', 'payments', '', 'reason', 'none')
  const set_aside = { message: 'shard 2 has 1 journal entries that PostgreSQL refuses: see npm run verify' }
  await t.rejects(move([a], FROM), set_aside)
  await app.redis.del(dead)
  await app.agree(t, 'afterwards')
})

t.test('a product that is moved again and again while it is sold loses nothing', async (t) => {
  const app = await build(t, { env })
  const beside = await build(t, { env, beside: app })
  const ids = [await app.product(10_000), await app.product(10_000, { shard: TO })] as const
  for (const { engine } of [app, beside]) engine.knowProduct(ids[1], TO, null)
  const ledger = newLedger()
  const sales = ids.map((id) => startSale([app, beside], id, { buyers: 4, ledger }))
  const client = createClient(app, ledger)
  const { move } = openMover(t, app)
  for (let count = 1; count <= MOVES; count += 1) {
    const [hold, unpaid] = [await client.held(ids[0]), await client.ordered(ids[0])]
    await move([ids[0]], count % 2 === 1 ? TO : FROM)
    t.ok(await client.order(hold), 'a hold of before becomes an order')
    t.match(
      await client.pay(unpaid.order_id, 'success'),
      { outcome: 'applied' },
      'an order of before is paid',
    )
    await sales[0]?.sells(10)
  }
  for (const sale of sales) await sale.stop()
  await isWhole(app)
  await checkSale(t, app, ledger)
  t.same([...ledger.refused.keys()], [503], 'nothing but 503 was refused')
})
