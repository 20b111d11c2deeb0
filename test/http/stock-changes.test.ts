import t from 'tap'
import { type App, build, newKey } from '../fixtures/app.ts'
import type { HoldBody, StockBody } from '../fixtures/resources.ts'
import { times, until } from '../fixtures/until.ts'

const adjust = (app: App, id: number, delta: number, key = newKey(), more: object = {}) =>
  app.call('POST', `/api/products/${id}/stock`, { delta, ...more }, { headers: { 'idempotency-key': key } })
const open = (app: App, id: number) =>
  until('an open fence', async () => (await app.call('GET', `/api/products/${id}`)).status === 200)
const total = async (app: App, id: number) =>
  (await app.sql<{ total: number }>('select total from products where id = $1', [id]))[0]?.total

t.test('units are added and taken out, and PostgreSQL has it before the answer leaves', async (t) => {
  const app = await build(t)
  const id = await app.product(10)
  await app.hold(id, 4)
  const more = await adjust(app, id, 5, 'box', { reason: 'found a box' })
  const stock = { total: 15, available: 11, held: 4, pending: 0, sold: 0 }
  t.match(more, { status: 200, body: { data: { id, available_stock: 11, stock } } })
  t.equal(more.headers['idempotency-replayed'], undefined)
  t.match(await app.sql('select delta, reason from stock_adjustments where idempotency_key = $1', ['box']), [
    { delta: 5, reason: 'found a box' },
  ])
  t.equal(await total(app, id), 15)
  t.match(await adjust(app, id, -11), { status: 200, body: { data: { state: 'all_held' } } })
  t.equal(await total(app, id), 4)
  t.match(await adjust(app, id, -1), { status: 409, body: { code: 'stock_in_use', available: 0 } })
  t.equal(await total(app, id), 4)
  await app.agree(t, 'afterwards')
})

t.test('the next buyer finds what was added, wherever he asks', async (t) => {
  const app = await build(t)
  const beside = await build(t, { beside: app })
  const id = await app.product(1)
  await app.paid((await app.order(await app.hold(id))).order_id, 'success')
  const place = () => beside.call('POST', '/api/holds', { product_id: id, qty: 2 })
  t.match(await place(), { status: 409, body: { reason: 'sold_out' } })
  t.match(await beside.stock(id), { state: 'sold_out' })
  t.equal((await adjust(app, id, 2)).status, 200)
  t.match(await beside.stock(id), { state: 'available', available: 2 })
  t.match(await place(), { status: 201 })
})

t.test('a key has one effect, and another change under it is refused', async (t) => {
  const app = await build(t)
  const beside = await build(t, { beside: app })
  const [id, other] = [await app.product(10), await app.product(10)]
  const replies = await times(30, (at) => adjust(at % 2 === 0 ? app : beside, id, 7, 'k'))
  // On a busy machine some may be told to come again.
  const done = replies.filter(({ status }) => status !== 503)
  t.same(new Set(done.map(({ status }) => status)), new Set([200]))
  const first = done.filter(({ headers }) => headers['idempotency-replayed'] === undefined)
  t.ok(first.length <= 1, 'all others say that they are repetitions')
  t.match(await adjust(app, id, 7, 'k'), { headers: { 'idempotency-replayed': 'true' } })
  t.match(await app.stock(id), { total: 17 })
  t.equal(await total(app, id), 17)
  t.match(await adjust(app, id, 8, 'k'), { status: 422, body: { code: 'idempotency_key_reused' } })
  t.match(await adjust(app, other, 8, 'k'), { status: 200 }, 'another product is another matter')
  t.match(await adjust(app, id, -100, 'k2'), { status: 409 })
  t.match(await adjust(app, id, -10, 'k2'), { status: 200 }, 'a refusal leaves the key free')
  await app.agree(t, 'afterwards')
})

t.test('a key is known though Redis has forgotten it, or lost everything', async (t) => {
  const app = await build(t)
  const id = await app.product(10)
  t.equal((await adjust(app, id, 5, 'k')).status, 200)
  const again = async (when: string) => {
    const reply = await adjust(app, id, 5, 'k')
    t.match(reply, { status: 200, body: { data: { stock: { total: 15 } } } }, when)
    t.equal(reply.headers['idempotency-replayed'], 'true', when)
    t.equal((await adjust(app, id, 6, 'k')).status, 422, when)
    t.equal(await total(app, id), 15, when)
  }
  await again('while all is well')
  await app.redis.del(app.engine.keys.idem(0, `stock:${id}`, 'k'))
  await again('after a day')
  await app.redis.unlink(...(await app.keys()))
  await app.call('GET', `/api/products/${id}`)
  await open(app, id)
  await again('after the loss of Redis')
  await app.agree(t, 'afterwards')
})

t.test('control: for a Redis that has lost its keys a change is new', async (t) => {
  const app = await build(t)
  const id = await app.product(10)
  await app.engine.adjustStock(id, 5, 'k', null)
  await app.redis.del(app.engine.keys.idem(0, `stock:${id}`, 'k'))
  await app.engine.adjustStock(id, 5, 'k', null)
  t.match(await app.stock(id), { total: 20 })
})

t.test('a change whose process died is finished by the same request, or by a sweeper', async (t) => {
  const app = await build(t)
  const id = await app.product(10)
  await app.engine.adjustStock(id, 5, 'k', null)
  t.equal(await total(app, id), 10)
  const reply = await adjust(app, id, 5, 'k')
  t.match(reply, { status: 200, headers: { 'idempotency-replayed': 'true' } })
  t.equal(await total(app, id), 15)
  await app.agree(t, 'afterwards')
})

t.test('a change that Redis lost before PostgreSQL had it may be made again', async (t) => {
  const app = await build(t)
  const id = await app.product(10)
  await app.engine.adjustStock(id, 5, 'k', null)
  // All but the key itself is gone.
  await app.redis.unlink(app.engine.keys.shard(0, 'journal'), app.engine.keys.shard(0, 'epoch'))
  await app.call('GET', `/api/products/${id}`)
  await open(app, id)
  t.match(await app.stock(id), { total: 10 })
  t.match(await adjust(app, id, 5, 'k'), { status: 200, body: { data: { stock: { total: 15 } } } })
  await app.agree(t, 'afterwards')
})

t.test('a key that was remembered though its entry was set aside is not called done', async (t) => {
  const app = await build(t)
  const id = await app.product(10)
  const made = await app.engine.adjustStock(id, 5, 'k', null)
  if (made.status !== 'adjusted') throw new Error(made.status)
  await app.engine.journal.buryEntry(0, made.entry.entry_id, 'a test says so')
  t.match(await adjust(app, id, 5, 'k'), { status: 503, body: { code: 'unavailable' } })
})

t.test(
  'units that a cancellation gave back can be taken out, though PostgreSQL comes to it later',
  async (t) => {
    const app = await build(t)
    const id = await app.product(5)
    const order = await app.order(await app.hold(id, 5))
    // As if the process had died between the step and the commit.
    await app.engine.cancelOrder(order.order_id.slice(4))
    t.match(await adjust(app, id, -5), { status: 200, body: { data: { stock: { total: 0 } } } })
    t.equal(await total(app, id), 0)
    await app.agree(t, 'afterwards')
  },
)

t.test('units that a restock brought can be ordered in the same batch, before and after', async (t) => {
  const app = await build(t)
  const { writer } = app.service
  const id = await app.product(2)
  await app.hold(id, 2)
  const more = await app.engine.adjustStock(id, 3, 'more', null)
  const hold = await app.hold(id, 3)
  const made = await app.engine.createOrder(hold.hold_id.slice(4), null)
  const cancelled = await app.engine.cancelOrder(hold.hold_id.slice(4))
  const less = await app.engine.adjustStock(id, -3, 'less', null)
  const steps = [less, cancelled, made, more]
  const entries = steps.flatMap((step) => ('entry' in step ? [step.entry] : []))
  t.equal(entries.length, 4)
  t.same(await Promise.all(entries.map((entry) => writer.commit(entry))), Array(4).fill('committed'))
  t.equal(await total(app, id), 2)
  await app.agree(t, 'afterwards')
})

t.test('units that PostgreSQL will never take are taken out of Redis again', async (t) => {
  const app = await build(t, { sweeper: true })
  const id = await app.product(10, { unit_amount: 100 })
  // The price is raised in PostgreSQL while Redis has the old one.
  await app.sql('update products set unit_amount = 90071992547409 where id = $1', [id])
  t.match(await adjust(app, id, 1, 'k'), { status: 400, body: { code: 'validation_failed' } })
  await open(app, id)
  t.match(await app.stock(id), { total: 10, available: 10 })
  t.match(await adjust(app, id, 1, 'k'), { status: 400 }, 'and the key is as free as before')
  await app.agree(t, 'afterwards')
})

/** Sends a request again, with the same key, until it is not told to come again. */
async function persist(app: App, method: string, path: string, body?: object, key = newKey()) {
  return until(`an answer to ${method} ${path}`, async () => {
    const reply = await app.call(method, path, body, { headers: { 'idempotency-key': key } })
    return reply.status !== 503 && reply
  })
}

t.test('a sale goes on while its stock changes, and no unit is lost or made', async (t) => {
  const app = await build(t, { sweeper: true })
  const beside = await build(t, { beside: app })
  const id = await app.product(30)
  const units = { added: 0, sold: 0 }
  await times(100, async (at) => {
    const by = at % 2 === 0 ? app : beside
    if (at % 5 === 0) {
      const delta = at % 10 === 0 ? 3 : -3
      const { status } = await persist(by, 'POST', `/api/products/${id}/stock`, { delta })
      if (status === 200) units.added += delta
      else t.equal(status, 409)
      return
    }
    const hold = await persist(by, 'POST', '/api/holds', { product_id: id, qty: 1 })
    if (hold.status !== 201) return
    const { hold_id, order_id } = (hold.body as { data: HoldBody }).data
    if (at % 3 === 0) await persist(by, 'DELETE', `/api/holds/${hold_id}`)
    else {
      t.equal((await persist(by, 'POST', '/api/orders', { hold_id })).status, 201)
      if (at % 4 === 0) await persist(by, 'DELETE', `/api/orders/${order_id}`)
      else {
        await persist(by, 'POST', '/api/payments/webhook', { order_id, status: 'success' })
        units.sold += 1
      }
    }
  })
  const stock: StockBody = await app.stock(id)
  t.match(stock, { total: 30 + units.added, sold: units.sold, held: 0, pending: 0 })
  t.equal(await total(app, id), stock.total)
  await app.agree(t, 'afterwards')
})
