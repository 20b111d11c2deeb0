import t from 'tap'
import type { Engine } from '../../src/engine/engine.ts'
import type { Change } from '../fixtures/change.ts'
import { count, type Fixture, idem, openFixture } from '../fixtures/redis.ts'

const CONNECTIONS = 4

function openCrowd(f: Fixture, change?: Change): Engine[] {
  return Array.from({ length: CONNECTIONS }, () =>
    f.open({ own_connection: true, ...(change ? { change } : {}) }),
  )
}

/** One call for each buyer, spread over the engines. */
function rush<Answer>(
  buyers: number,
  engines: Engine[],
  call: (engine: Engine, buyer: number) => Promise<Answer>,
) {
  return Promise.all(
    Array.from({ length: buyers }, (_, buyer) => call(engines[buyer % engines.length] as Engine, buyer)),
  )
}

t.test('of 600 buyers who come at once for 100 units, 100 get one', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  const answers = await rush(600, openCrowd(f), (engine) => f.place(1, { engine }))
  t.same(count(answers), { placed: 100, insufficient_stock: 500 })
  t.match(await f.stock(), { available: 0, held: 100 })
  await f.equation('after the rush')
})

t.test('control: who reads the stock first and takes it afterwards sells it more than once', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 100)
  const key = f.keys.shard(0, 'products')
  const naive = async ({ nodes }: Engine) => {
    const redis = nodes.of(0)
    const available = Number(await redis.hget(key, '1:available'))
    if (available < 1) return { status: 'insufficient_stock' }
    await redis.hincrby(key, '1:available', -1)
    return { status: 'placed' }
  }
  const answers = await rush(600, openCrowd(f), naive)
  t.ok((count(answers).placed ?? 0) > 100, `${count(answers).placed} of 100 units were sold`)
  t.ok(Number(await f.redis.hget(key, '1:available')) < 0)
})

t.test('carts that overlap in opposite order never take more than there is', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 50)
  await f.load(2, 60)
  const answers = await rush(400, openCrowd(f), (engine, buyer) => {
    const lines: Array<[number, number]> = [
      [1, 1],
      [2, 1],
    ]
    return f.place(buyer % 2 === 0 ? lines : lines.reverse(), { engine })
  })
  t.same(count(answers), { placed: 50, insufficient_stock: 350 })
  t.match(await f.stock(2), { available: 10, held: 50 })
  await f.equation('after the rush')
})

t.test(
  'a cart that fails at its last line never hides the units of the first from another buyer',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 1)
    await f.load(2, 1)
    await f.load(3, 0)
    const [carts, buyer] = openCrowd(f) as [Engine, Engine]
    const cart: Array<[number, number]> = [
      [1, 1],
      [2, 1],
      [3, 1],
    ]
    const failing = rush(300, [carts], (engine) => f.place(cart, { engine }))
    const bought: string[] = []
    for (let tries = 0; tries < 50; tries += 1) {
      t.same((await f.stock(2))?.available, 1, 'the stock never looks smaller')
      const answer = await f.place(1, { engine: buyer })
      bought.push(answer.status)
      if (answer.status === 'placed') await buyer.releaseHold(answer.hold.id)
    }
    t.same(new Set(bought), new Set(['placed']))
    t.same(count(await failing), { insufficient_stock: 300 })
    await f.equation('after the rush')
  },
)

t.test('control: a cart that takes line by line and gives back on failure does hide them', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 1)
  await f.load(3, 0)
  const key = f.keys.shard(0, 'products')
  await f.redis.hincrby(key, '1:available', -1)
  await f.redis.hincrby(key, '1:pending', 1)
  t.match(await f.place(1), { status: 'insufficient_stock' }, 'refused, though the cart is going to fail')
  t.equal(await f.redis.hget(key, '3:available'), '0')
  await f.redis.hincrby(key, '1:available', 1)
  await f.redis.hincrby(key, '1:pending', -1)
  t.match(await f.place(1), { status: 'placed' })
})

const LIMIT = 3
const hoarding = async (f: Fixture, change?: Change) => {
  await f.load(1, 100, { max_per_customer: LIMIT })
  return count(await rush(60, openCrowd(f, change), (engine) => f.place(1, { engine, customer_id: 'ada' })))
}

t.test('a customer who asks 60 times at once gets no more than the limit', async (t) => {
  const f = await openFixture(t)
  t.same(await hoarding(f), { placed: LIMIT, limit_exceeded: 60 - LIMIT })
  await f.equation('after the rush')
})

t.test('control: without its units being counted, the customer gets more than the limit', async (t) => {
  const f = await openFixture(t)
  const counts = await hoarding(f, [['save_buyers(keys.buyers)\n', '']])
  t.ok((counts.placed ?? 0) > LIMIT, `${counts.placed} holds with a limit of ${LIMIT}`)
})

const repeating = async (f: Fixture, change?: Change) => {
  await f.load(1, 100)
  return rush(60, openCrowd(f, change), (engine) => f.place(1, { engine, idem: idem('k') }))
}

t.test(
  'a request that is sent 60 times with one key makes one hold, and every answer names it',
  async (t) => {
    const f = await openFixture(t)
    const answers = await repeating(f)
    t.same(count(answers), { placed: 1, replayed: 59 })
    t.equal(new Set(answers.map((answer) => ('hold' in answer ? answer.hold.id : ''))).size, 1)
    t.match(await f.stock(), { available: 99, held: 1 })
    await f.equation('after the rush')
  },
)

t.test('control: a key that is not remembered makes several', async (t) => {
  const f = await openFixture(t)
  const answers = await repeating(f, [["redis.call('SET', idem_key, result, 'PX', idem_ttl_ms)", '']])
  t.ok((count(answers).placed ?? 0) > 1, `${count(answers).placed} holds for one key`)
})

t.test('without any sweeper 600 buyers still find the units of dead holds, each once', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 400)
  const short = f.open({ hold_ttl_ms: 1 })
  const dead = await rush(400, [short], () => f.hold(1, { engine: short }))
  await f.until(Math.max(...dead.map((hold) => hold.expires_at_ms)))
  const answers = await rush(600, openCrowd(f), (engine) => f.place(1, { engine }))
  t.same(count(answers), { placed: 400, insufficient_stock: 200 })
  for (const hold of dead.slice(0, 20)) {
    t.match(await f.engine.createOrder(hold.id, null), { status: 'expired' })
  }
  await f.equation('after the rush')
})

t.test(
  'control: a taker-back that leaves the dead holds in place sells their units again and again',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 20)
    await f.deadHold(10)
    await f.hold(10)
    const engines = openCrowd(f, [['\ndrop_dead_holds(keys)\n', '\n']])
    const counts = count(await rush(3, engines, (engine) => f.place(10, { engine })))
    t.ok((counts.placed ?? 0) > 1, `${counts.placed} buyers got the 10 units of one dead hold`)
  },
)
