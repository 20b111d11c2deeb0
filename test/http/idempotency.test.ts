import t from 'tap'
import { type App, build, newKey } from '../fixtures/app.ts'
import { type Reply, send } from '../fixtures/http.ts'
import type { HoldBody, OrderBody } from '../fixtures/resources.ts'
import { times } from '../fixtures/until.ts'

const app = await build(t)
const REUSED = { status: 422, body: { code: 'idempotency_key_reused' } }

const place = (body: unknown, key: string, on: App = app) =>
  on.call('POST', '/api/holds', body, { headers: { 'idempotency-key': key } })
const create = (body: unknown, key: string, on: App = app) =>
  on.call('POST', '/api/orders', body, { headers: { 'idempotency-key': key } })
const dataOf = <Data>(reply: Reply) => (reply.body as { data: Data }).data
const wasReplayed = ({ headers }: Reply) => headers['idempotency-replayed']

t.test('a hold that is asked for again under its key is the same hold', async (t) => {
  const id = await app.product(10)
  const [body, key] = [{ product_id: id, qty: 2, customer_id: 'ada' }, newKey()]
  const first = await place(body, key)
  t.match(first, { status: 201 })
  t.equal(wasReplayed(first), undefined)
  const again = await place(body, key)
  t.equal(again.status, 201)
  t.equal(again.text, first.text)
  t.equal(again.headers.location, first.headers.location)
  t.equal(wasReplayed(again), 'true')
  t.match(await app.stock(id), { available: 8, held: 2 })
})

t.test('the answer stays the first one, whatever became of the hold', async (t) => {
  const id = await app.product(10)
  const [body, key] = [{ product_id: id, qty: 2 }, newKey()]
  const first = await place(body, key)
  await app.call('DELETE', first.headers.location as string)
  t.equal((await place(body, key)).text, first.text)
  t.match(await app.stock(id), { available: 10, held: 0 })
})

t.test('the same body is the same whatever its layout and the order of its fields', async (t) => {
  const id = await app.product(10)
  const key = newKey()
  const first = await place(`{"product_id":${id},"qty":1,"customer_id":"ada"}`, key)
  for (const text of [
    `{"customer_id":"ada","qty":1,"product_id":${id}}`,
    ` {\n  "qty" : 1 ,\t"product_id": ${id},\r\n "customer_id":"\\u0061da" }\n`,
    `{"product_id":${id},"qty":1.0,"customer_id":"ada"}`,
  ]) {
    t.equal((await place(text, key)).text, first.text, text)
  }
  t.match(await app.stock(id), { held: 1 })
})

t.test('another body under the same key is refused, and changes nothing', async (t) => {
  const id = await app.product(10)
  const key = newKey()
  await place({ product_id: id, qty: 1 }, key)
  t.match(await place({ product_id: id, qty: 2 }, key), REUSED)
  t.match(await place({ product_id: id, qty: 1, customer_id: 'ada' }, key), REUSED)
  t.match(await place({ items: [{ product_id: id, qty: 1 }] }, key), REUSED)
  t.match(await app.stock(id), { held: 1 })

  const [hold, other] = [await app.hold(id), await app.hold(id)]
  await create({ hold_id: hold.hold_id }, key)
  t.match(await create({ hold_id: other.hold_id }, key), REUSED)
  t.match(await app.call('GET', `/api/holds/${other.hold_id}`), { body: { data: { status: 'active' } } })
})

t.test('a key for holds has nothing to do with the same key for orders', async (t) => {
  const key = newKey()
  const hold = dataOf<HoldBody>(await place({ product_id: await app.product(1), qty: 1 }, key))
  t.match(await create({ hold_id: hold.hold_id }, key), {
    status: 201,
    headers: { 'idempotency-replayed': undefined },
  })
})

t.test('a refusal is not kept: the same request may succeed later', async (t) => {
  const id = await app.product(1)
  const [body, key] = [{ product_id: id, qty: 1 }, newKey()]
  const hold = await app.hold(id)
  t.match(await place(body, key), { status: 409, body: { reason: 'all_held' } })
  t.match(await place({ ...body, qty: 0 }, key), { status: 400 })
  await app.call('DELETE', `/api/holds/${hold.hold_id}`)
  const later = await place(body, key)
  t.match(later, { status: 201 })
  t.equal(wasReplayed(later), undefined)

  const order_key = newKey()
  t.match(await create({ hold_id: 'hld_x' }, order_key), { status: 404 })
  t.match(await create({ hold_id: dataOf<HoldBody>(later).hold_id }, order_key), { status: 201 })
})

t.test('an order that is asked for again under its key is the same order', async (t) => {
  const id = await app.product(10)
  const hold = await app.hold(id)
  const key = newKey()
  const first = await create({ hold_id: hold.hold_id }, key)
  const again = await create({ hold_id: hold.hold_id }, key)
  t.equal(again.status, 201)
  t.equal(again.text, first.text)
  t.equal(again.headers.location, first.headers.location)
  t.equal(wasReplayed(again), 'true')
  t.match(await create({ hold_id: hold.hold_id }, newKey()), {
    status: 409,
    body: { code: 'hold_already_used' },
  })
  await app.paid(dataOf<OrderBody>(first).order_id, 'success')
  t.equal((await create({ hold_id: hold.hold_id }, key)).text, first.text, 'also once it is paid')
  await app.agree(t, 'in the end')
})

t.test('twenty requests at once under one key have one effect, and one answer', async (t) => {
  const id = await app.product(50)
  const body = { product_id: id, qty: 1 }
  const key = newKey()
  const holds = await times(20, () => place(body, key))
  t.same(new Set(holds.map(({ status }) => status)), new Set([201]))
  t.equal(new Set(holds.map(({ text }) => text)).size, 1)
  t.equal(holds.filter((reply) => wasReplayed(reply) === undefined).length, 1)
  t.match(await app.stock(id), { available: 49, held: 1 })

  const { hold_id } = dataOf<HoldBody>(holds[0] as Reply)
  const orders = await times(20, () => create({ hold_id }, key))
  t.same(new Set(orders.map(({ status }) => status)), new Set([201]))
  t.equal(new Set(orders.map(({ text }) => text)).size, 1)
  t.match(await app.stock(id), { available: 49, held: 0, pending: 1 })
  t.equal(
    (await app.sql('select 1 from orders where id = $1', [`ord_${hold_id.slice('hld_'.length)}`])).length,
    1,
  )
})

t.test('control: twenty requests at once without a key have twenty effects', async (t) => {
  const id = await app.product(50)
  await times(20, () => app.hold(id))
  t.match(await app.stock(id), { held: 20 })
})

t.test('a key counts in every process alike', async (t) => {
  const beside = await build(t, { beside: app })
  const id = await app.product(50)
  const key = newKey()
  const holds = await times(20, (at) => place({ product_id: id, qty: 1 }, key, at % 2 === 0 ? app : beside))
  t.equal(new Set(holds.map(({ text }) => text)).size, 1)
  const { hold_id } = dataOf<HoldBody>(holds[0] as Reply)
  const orders = await times(20, (at) => create({ hold_id }, key, at % 2 === 0 ? app : beside))
  t.equal(new Set(orders.map(({ text }) => text)).size, 1)
  t.match(await app.stock(id), { available: 49, pending: 1 })
  await app.agree(t, 'in the end')
})

t.test('who loses the answer asks again and gets it', async (t) => {
  const id = await app.product(10)
  const [body, key] = [{ product_id: id, qty: 1 }, newKey()]
  const lose = (path: string, sent: object) =>
    send(app.origin, {
      ...{ method: 'POST', path, body: sent },
      headers: { 'idempotency-key': key },
      give_up_ms: 0,
    }).catch((error: Error) => error.message)
  t.equal(await lose('/api/holds', body), 'given up')
  const hold = dataOf<HoldBody>(await place(body, key))
  t.match(await app.stock(id), { available: 9, held: 1 }, 'units were taken once')
  t.equal(await lose('/api/orders', { hold_id: hold.hold_id }), 'given up')
  t.match(await create({ hold_id: hold.hold_id }, key), { status: 201 })
  t.match(await app.stock(id), { available: 9, held: 0, pending: 1 })
  await app.agree(t, 'in the end')
})
