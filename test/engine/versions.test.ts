import t from 'tap'
import type { Engine } from '../../src/engine/engine.ts'
import type { Change } from '../fixtures/change.ts'
import { count, EPOCH, type Fixture, openFixture } from '../fixtures/redis.ts'
import { times } from '../fixtures/until.ts'

const ROUNDS = 20
const UNITS = 12
const BUYERS = 18

/** Another version of every script that moves units, with the same form of what it keeps. */
const NEXT_VERSION: Change = [
  ['stock[from] = stock[from] - qty', 'stock[from] = -(qty - stock[from])'],
]
/** A version that writes another form: a hold's currency comes before its items. */
const NEXT_FORM: Change = [
  ["id .. '|' .. cart.record", "id .. '|' .. string.gsub(cart.record, '^([^|]*)|([^|]*)', '%2|%1')"],
]

/** Two versions of the service at once, as during a deployment: whatever one begins, either may finish. */
async function openVersions(f: Fixture): Promise<(at: number) => Engine> {
  const versions = [f.open({ own_connection: true }), f.open({ own_connection: true, change: NEXT_VERSION })]
  return (at) => versions[at % versions.length] as Engine
}

t.test('two versions of a script at once sell each unit once', async (t) => {
  const f = await openFixture(t)
  const version = await openVersions(f)
  for (let round = 1; round <= ROUNDS; round += 1) {
    await f.load(round, UNITS)
    const answers = await times(BUYERS, (at) => f.place([[round, 1]], { engine: version(at) }))
    t.match(count(answers), { placed: UNITS }, 'no more than there are')
    const holds = answers.flatMap((answer) => (answer.status === 'placed' ? [answer.hold] : []))
    const ends = await Promise.all(
      holds.flatMap(({ id }, at) => [
        at % 3 === 0 ? version(at).releaseHold(id) : version(at).createOrder(id, null),
        version(at + 1).createOrder(id, null),
      ]),
    )
    const { created = 0, released = 0 } = count(ends)
    const freed = ends.filter(({ status }) => status === 'released')
    t.ok(created >= (UNITS * 2) / 3, `${created} orders`)
    t.match(await f.stock(round), { pending: holds.length - freed.length + 0 * released, held: 0 })
    await f.equation(`after round ${round}`)
  }
  t.same(f.alarms, [])
})
