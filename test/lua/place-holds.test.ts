import t from 'tap'
import { clockAt } from '../fixtures/change.ts'
import { PLACE_ARGS, placeRequest } from '../fixtures/place-request.ts'
import { idem, LONG_MS, notice, openFixture, refusedByFence, unchanged } from '../fixtures/redis.ts'

t.test('a hold is refused with another epoch, and without one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  await refusedByFence(t, f, (engine) => f.place(1, { engine }))
})

t.test('a hold is refused for the first reason that applies, and a refusal changes nothing', async (t) => {
  const f = await openFixture(t)
  const faults = {
    paused: true,
    starts_at_ms: (await f.now()) + LONG_MS,
    ends_at_ms: (await f.now()) - 1,
    max_per_hold: 1,
    max_per_customer: 1,
  }
  await f.load(1, 4, faults)
  await f.load(2, 4, { currency: 'EUR' })
  await f.load(3, 1000)
  await f.hold([[3, 1]], { idem: idem('taken') })
  const lines: Array<[number, number]> = [
    [1, 5],
    [2, 1],
  ]
  const refused = async (own: Parameters<typeof f.place>[1], status: string, more = {}) => {
    t.match(await unchanged(t, f, () => f.place(lines, own)), { status, ...more })
    await f.equation(`after ${status}`)
  }

  lines.push([99, 1])
  await refused({ idem: idem('taken', 'another body') }, 'key_reused')
  await refused({}, 'product_not_found', { product_id: 99 })
  lines.pop()
  await refused({}, 'sale_paused', { product_id: 1 })
  await f.load(1, 4, { ...faults, paused: false })
  await refused({}, 'sale_not_started', { product_id: 1 })
  await f.load(1, 4, { ...faults, paused: false, starts_at_ms: null })
  await refused({}, 'sale_ended', { product_id: 1 })
  await f.load(1, 4, { max_per_hold: 1, max_per_customer: 1 })
  await refused({}, 'currency_mismatch', { product_id: 2 })
  await f.load(2, 4)
  await refused({}, 'customer_required', { product_id: 1 })
  await refused({ customer_id: 'ada' }, 'limit_exceeded', { product_id: 1, limit: 1 })
  await f.load(1, 4, { max_per_customer: 4 })
  await refused({ customer_id: 'ada' }, 'limit_exceeded', { product_id: 1, limit: 4 })
  await f.load(1, 4)
  await refused({ customer_id: 'ada' }, 'insufficient_stock', { product_id: 1 })
  lines[0] = [1, 4]
  t.match(await f.place(lines, { customer_id: 'ada' }), { status: 'placed' })
  await f.equation('at the end')
})

t.test('nothing is held, nor repeated, while too much waits for PostgreSQL, or for too long', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  await f.hold(1, { idem: idem('k') })
  for (let orders = 0; orders < 3; orders += 1) await f.order(1)
  const placing = (limits: { max_entries?: number; max_age_ms?: number }) =>
    f.run('place-holds', 0, { args: { ...PLACE_ARGS, ...limits }, rest: placeRequest([[99, 1]]) })
  const journal = f.keys.shard(0, 'journal')
  t.match(await placing({ max_entries: 3 }), ['done', ['not_found']], 'at the limit')
  t.same(await unchanged(t, f, () => placing({ max_entries: 2 })), ['journal_full'])
  const [[first_id = ''] = []] = await f.redis.xrange(journal, '-', '+', 'COUNT', 1)
  const age_ms = (await f.now()) - Number(first_id.split('-')[0])
  t.match(await placing({ max_age_ms: age_ms + LONG_MS }), ['done', ['not_found']])
  await f.until((await f.now()) + 1)
  t.same(await unchanged(t, f, () => placing({ max_age_ms: age_ms })), ['journal_full'])

  await f.redis.del(journal)
  t.match(await f.place(1), { status: 'placed' })
  await f.redis.xadd(journal, '1-1', 'order', '')
  const refused = { code: 'unavailable', message: /PostgreSQL is too far behind/ }
  for (const own of [{}, { idem: idem('k') }]) {
    await unchanged(t, f, () => t.rejects(f.place(1, own), refused))
  }
  const { id } = await f.order(1).catch(() => ({ id: '' }))
  t.equal(id, '', 'an order needs a hold')
})

t.test('the same key and body are answered with the first hold, whatever has changed since', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 2)
  const first = await f.hold(2, { idem: idem('k'), customer_id: 'ada' })
  await f.load(1, 2, { paused: true, unit_amount: 1 })
  const again = await unchanged(t, f, () => f.place(2, { idem: idem('k'), customer_id: 'ada' }))
  t.same(again, { status: 'replayed', hold: first })
  await f.equation('after the repetition')
})

t.test('a key is refused for another body before anything is said about that body', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 2)
  await f.hold(1, { idem: idem('k') })
  const other = await unchanged(t, f, () => f.place([[99, 1]], { idem: idem('k', 'other') }))
  t.same(other, { status: 'key_reused' })
})

t.test('a refusal is not remembered: the same key may succeed later', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 1)
  const other = await f.hold(1)
  t.match(await f.place(1, { idem: idem('k') }), { status: 'insufficient_stock' })
  await f.engine.releaseHold(other.id)
  t.match(await f.place(1, { idem: idem('k') }), { status: 'placed' })
  t.match(await f.place(1, { idem: idem('k') }), { status: 'replayed' })
  await f.equation('at the end')
})

t.test('a sale runs from the millisecond of its start to the last one before its end', async (t) => {
  const f = await openFixture(t)
  const starts_at_ms = await f.now()
  const ends_at_ms = starts_at_ms + 1000
  await f.load(1, 100, { starts_at_ms, ends_at_ms })
  const statusAt = async (moment_ms: number) =>
    (await f.place(1, { engine: f.open({ change: clockAt(moment_ms) }) })).status
  t.equal(await statusAt(starts_at_ms - 1), 'sale_not_started')
  t.equal(await statusAt(starts_at_ms), 'placed')
  t.equal(await statusAt(ends_at_ms - 1), 'placed')
  t.equal(await statusAt(ends_at_ms), 'sale_ended')
})

t.test(
  'a hold has the price of its moment and lives as long as the shortest TTL of its products',
  async (t) => {
    const f = await openFixture(t, { hold_ttl_ms: 90_000 })
    await f.load(1, 10, { unit_amount: 700 })
    await f.load(2, 10, { unit_amount: 5, hold_ttl_ms: 60_000 })
    const hold = await f.hold([
      [1, 2],
      [2, 3],
    ])
    t.equal(hold.expires_at_ms - hold.created_at_ms, 60_000)
    t.equal(hold.amount, 2 * 700 + 3 * 5)
    await f.load(1, 10, { unit_amount: 900 })
    t.match(await f.engine.readHold(hold.id), { status: 'live', hold: { amount: 1415 } })
    const [later] = [await f.hold(1)]
    t.equal(later.expires_at_ms - later.created_at_ms, 90_000)
    t.equal(later.amount, 900)
  },
)

t.test('two lines of one product count as one, with the sum of their units', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 3, { max_per_hold: 3 })
  const twice: Array<[number, number]> = [
    [1, 2],
    [1, 2],
  ]
  t.match(await unchanged(t, f, () => f.place(twice)), { status: 'limit_exceeded', limit: 3 })
  await f.load(1, 3)
  t.match(await unchanged(t, f, () => f.place(twice)), { status: 'insufficient_stock', available: 3 })
  const hold = await f.hold([
    [1, 1],
    [1, 2],
  ])
  t.same(hold.items, [{ product_id: 1, qty: 3, unit_amount: 9900 }])
  await f.equation('after the summed hold')
})

t.test('of several lines the first that is refused is named', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10, { ends_at_ms: 1 })
  await f.load(2, 10, { paused: true })
  const lines: Array<[number, number]> = [
    [1, 1],
    [2, 1],
  ]
  t.same(await f.place(lines), { status: 'sale_ended', product_id: 1 })
  t.same(await f.place(lines.reverse()), { status: 'sale_paused', product_id: 2 })
})

t.test('a cart is granted whole or not at all', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 5)
  await f.load(2, 5)
  await f.load(3, 1)
  const cart = (qty: number): Array<[number, number]> => [
    [1, 2],
    [2, 2],
    [3, qty],
  ]
  const refused = await unchanged(t, f, () => f.place(cart(2)))
  t.match(refused, { status: 'insufficient_stock', product_id: 3, reason: 'too_many', available: 1 })
  await f.hold(cart(1))
  t.match(await f.stock(2), { available: 3, held: 2 })
  await f.equation('after the cart')
})

t.test(
  'a customer has no more than the limit in holds and orders, and no refusal forgets a unit',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 20, { max_per_customer: 5, max_per_hold: 2 })
    await f.load(2, 20)
    const own = { customer_id: 'ada' }
    const refused = async (qty: number, limit: number) => {
      const answer = await unchanged(t, f, () => f.place(qty, own))
      t.same(answer, { status: 'limit_exceeded', product_id: 1, limit })
    }
    const first = await f.hold(2, own)
    await refused(3, 2)
    const order = await f.order(2, own)
    await refused(2, 5)
    await refused(2, 5)
    await f.engine.applyPayment(notice(order.id, 'p1', 'success'), false)
    await refused(2, 5)
    await f.engine.releaseHold(first.id)
    await f.hold(2, own)
    await f.hold(1, own)
    await refused(1, 5)
    await f.equation('at the limit')

    const buyers = () => f.redis.hgetall(f.keys.shard(0, 'buyers'))
    t.same(await buyers(), { '1:ada': '5' })
    const free = await f.order([[2, 9]], own)
    await f.engine.applyPayment(notice(free.id, 'p2', 'failed'), false)
    await f.engine.applyPayment(notice(free.id, 'p3', 'success'), false)
    t.same(await buyers(), { '1:ada': '5' }, 'nobody is counted where there is no limit')
  },
)

t.test('missing stock is told apart: too many asked for, all held by others, or sold out', async (t) => {
  const f = await openFixture(t, { hold_ttl_ms: 60_000 })
  await f.load(1, 2)
  const hold = await f.hold(1)
  t.match(await f.place(2), { reason: 'too_many', available: 1, retry_after_ms: 0 })
  const order = await f.order(1)
  const held = await f.place(1)
  t.match(held, { status: 'insufficient_stock', reason: 'all_held', available: 0 })
  const wait_ms = 'retry_after_ms' in held ? held.retry_after_ms : 0
  t.ok(wait_ms > 0 && wait_ms <= 60_000, 'told to wait until the first hold ends, at most')
  await f.engine.applyPayment(notice(order.id, 'p1', 'success'), false)
  t.match(await f.place(1), { reason: 'all_held' })
  await f.engine.createOrder(hold.id, null)
  t.match(await f.place(1), { reason: 'all_held' }, 'a pending unit may come back')
  await f.engine.applyPayment(notice(hold.id, 'p2', 'success'), false)
  t.match(await f.place(1), { reason: 'sold_out', available: 0, retry_after_ms: 0 })
  await f.equation('when all is sold')
})

t.test(
  'a product of another shard, or of a shard that is not there, cannot be held with this one',
  async (t) => {
    const f = await openFixture(t, { shards: 2 })
    await f.load(1, 10)
    await f.load(2, 10)
    const both = await unchanged(t, f, () =>
      f.place([
        [1, 1],
        [2, 1],
      ]),
    )
    t.same(both, { status: 'not_in_one_shard' })
    t.match(await f.hold([[2, 1]]), { id: /0$/ })
    t.match(await f.hold([[1, 1]]), { id: /1$/ })
    await f.equation('in both shards')
  },
)
