import t from 'tap'
import type { Change } from '../fixtures/change.ts'
import { count, EPOCH, openFixture } from '../fixtures/redis.ts'
import { times } from '../fixtures/until.ts'

const ROUNDS = 20
const UNITS = 12
const BUYERS = 18

/** Another version of every script that moves units: the same form, other text. */
const NEXT_TEXT: Change = [['stock[from] = stock[from] - qty', 'stock[from] = -qty + stock[from]']]
/** A version that takes twice what is asked for. */
const CARELESS: Change = [['stock[from] = stock[from] - qty', 'stock[from] = stock[from] - 2 * qty']]
/** A version that keeps holds in another form: their currency stands before their items. */
const NEXT_FORM: Change = [
  ["'|' .. cart.record", "'|' .. string.gsub(cart.record, '^([^|]*)|([^|]*)', '%2|%1')"],
]

t.test('two versions of a script at once sell each unit once', async (t) => {
  const f = await openFixture(t)
  const versions = [f.open({ own_connection: true }), f.open({ own_connection: true, change: NEXT_TEXT })]
  const version = (at: number) => versions[at % 2] ?? f.engine
  for (let product = 1; product <= ROUNDS; product += 1) {
    await f.load(product, UNITS)
    const answers = await times(BUYERS, (at) => f.place([[product, 1]], { engine: version(at) }))
    t.equal(count(answers).placed, UNITS, 'every unit is held once')
    const ids = answers.flatMap((answer) => (answer.status === 'placed' ? [answer.hold.id] : []))
    const orders = Promise.all(
      ids.flatMap((id, at) => [version(at).createOrder(id, null), version(at + 1).createOrder(id, null)]),
    )
    const releases = times(ids.length / 3, (at) => version(at).releaseHold(ids[at] ?? ''))
    const { created = 0 } = count(await orders)
    const { released: free = 0 } = count(await releases)
    t.equal(created + free, UNITS, 'what one began the other finishes, once')
    t.match(await f.stock(product), { available: free, held: 0, pending: created })
    await f.equation(`after round ${product}`)
  }
  t.same(f.alarms, [])
})

t.test('control: a version that miscounts is noticed', async (t) => {
  const f = await openFixture(t)
  await f.load(1, UNITS)
  await f.place(1, { engine: f.open({ change: CARELESS }) })
  await t.rejects(f.hold(1), /do not add up/)
})

t.test('a version that keeps another form shuts out the one before by a new epoch', async (t) => {
  const f = await openFixture(t)
  await f.load(1, UNITS)
  const next = f.open({ change: NEXT_FORM, epoch: EPOCH + 1 })
  await f.redis.set(f.keys.shard(0, 'epoch'), EPOCH + 1)
  const { id } = await f.hold(1, { engine: next })
  await t.rejects(f.engine.createOrder(id, null), { code: 'recovering' })
  t.notOk(f.engine.fence.isOpen(0))
  t.same(f.alarms, [], 'it has read nothing of the new form')

  const unaware = f.open({ epoch: EPOCH + 1 })
  await t.rejects(unaware.createOrder(id, null), { code: 'unavailable' })
  t.match(f.alarms, [/BROKEN/], 'control: without a new epoch it would')
})
