import t from 'tap'
import { PLACE_ARGS, placeRequest } from '../fixtures/place-request.ts'
import { openFixture, unchanged } from '../fixtures/redis.ts'

const STEP = 125 // holds that one step takes back

t.test('units of dead holds are free for the next buyer, though nothing swept them', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 3)
  await f.deadHold(2)
  await f.deadHold(1)
  t.match(await f.stock(), { available: 0, held: 3 }, 'reads may still count them')
  await f.hold(3)
  await f.equation('after the next buyer')
  t.same(await f.engine.expireHolds(0), { count: 0, late_ms: 0, are_more: false })
})

t.test('dead holds are left alone while there is enough free stock', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 3)
  const dead = await f.deadHold(1)
  await f.hold(2)
  t.match(await f.engine.allHolds(0), [dead, Object])
  await f.equation('with a dead hold in it')
})

t.test('more dead holds than a step takes back are worked off before anyone is refused', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 1)
  await f.load(2, STEP * 2)
  const short = f.open({ hold_ttl_ms: 1 })
  const dead = await Promise.all(Array.from({ length: STEP * 2 }, () => f.hold([[2, 1]], { engine: short })))
  await f.until(Math.max(...dead.map((hold) => hold.expires_at_ms)))
  await f.deadHold(1)
  const [, raw] = await f.run('place-holds', 0, { args: PLACE_ARGS, rest: placeRequest([[1, 1]]) })
  t.same(raw, ['backlog'], 'the step says: ask again')
  t.match(await f.stock(2), { held: STEP }, 'it took back those that died first')
  await f.equation('after a bounded step')
  t.match(await f.place(1), { status: 'placed' }, 'and the engine does ask again')
  t.match(await f.stock(2), { held: 0 })
  await f.equation('at the end')
  const [, too_many] = await f.run('place-holds', 0, {
    args: PLACE_ARGS,
    rest: placeRequest([[2, STEP * 2 + 1]]),
  })
  t.match(too_many, ['insufficient_stock'])
})

t.test('a request for more than the total is refused at once, whatever the backlog', async (t) => {
  const f = await openFixture(t)
  await f.load(1, STEP + 1)
  const short = f.open({ hold_ttl_ms: 1 })
  const dead = await Promise.all(Array.from({ length: STEP + 1 }, () => f.hold(1, { engine: short })))
  await f.until(Math.max(...dead.map((hold) => hold.expires_at_ms)))
  const [, raw] = await f.run('place-holds', 0, { args: PLACE_ARGS, rest: placeRequest([[1, STEP + 2]]) })
  t.match(raw, ['insufficient_stock', '1', 'too_many', STEP])
  await f.equation('after it')
})

t.test('counts up to 2^53 - 1 are exact, and sums beyond it are refused', async (t) => {
  const f = await openFixture(t)
  const most = Number.MAX_SAFE_INTEGER
  await f.load(1, most, { unit_amount: 1 })
  t.match(
    await unchanged(t, f, () =>
      f.place([
        [1, most],
        [1, most],
      ]),
    ),
    { status: 'insufficient_stock', reason: 'too_many' },
  )
  const hold = await f.hold(most)
  t.equal(hold.amount, most)
  t.match(await f.stock(), { available: 0, held: most, total: most })
  await f.engine.releaseHold(hold.id)
  await f.hold(1)
  t.match(await f.stock(), { available: most - 1, held: 1, total: most })
  await f.equation('at the edge')
})

t.test('no units, a part of a unit, fewer than none or no number at all are never held', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  await f.hold(10)
  for (const qty of [0, -1, 0.5, 1.5, 'nan', '-inf', 'two', '']) {
    await unchanged(t, f, () =>
      t.rejects(
        f.run('place-holds', 0, { args: PLACE_ARGS, rest: placeRequest([[1, qty]]) }),
        { code: 'unavailable' },
        `qty ${qty}`,
      ),
    )
  }
  await f.equation('at the end')
})

t.test('a customer id may contain anything', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100, { max_per_customer: 2 })
  const names = [
    'a|b|c',
    '|',
    '"quoted"',
    "it's",
    'a:b',
    '1:a',
    '{0}',
    'Zoë ✓ 漢字 👟',
    '%d%s',
    'a\\nb\n',
    'nul\u0000!',
    ' ',
    '-',
  ]
  for (const customer_id of names) {
    const hold = await f.hold(1, { customer_id })
    t.equal(hold.customer_id, customer_id)
    t.match(await f.engine.readHold(hold.id), { status: 'live', hold })
    const answer = await f.engine.createOrder(hold.id, null)
    t.match(answer, { status: 'created', order: { customer_id, amount: 9900, currency: 'USD' } })
    t.match(await f.place(2, { customer_id }), { status: 'limit_exceeded' })
    const dead = await f.deadHold(1, customer_id)
    t.equal(dead.customer_id, customer_id)
  }
  await f.engine.expireHolds(0)
  await f.equation('with all of them')
})
