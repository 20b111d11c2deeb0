import t from 'tap'
import { build } from '../fixtures/app.ts'
import { isWhole } from './fixtures/mover.ts'

/*
  What stands among the holds of a shard and can not be read is nobody's hold: a rebuild drops it, and opens the shard.
*/

const AN_HOUR_MS = 3_600_000
const ID = `${'a'.repeat(16)}018f0000000`

for (const [what, member, in_ms] of [
  ['is one word', 'garbage', AN_HOUR_MS],
  ['has braces, which mean something in an array of PostgreSQL', '{"id":1}', AN_HOUR_MS],
  ['has a quote', 'gar"bage|1:1:1|USD|1000|', AN_HOUR_MS],
  ['has a backslash, and is over', 'gar\\bage', -1000],
  ['has a brace, and is over', 'ga{rbage', -1000],
  ['has no id', '|1:1:100|USD|1000|', AN_HOUR_MS],
  ['has an id that is none, and units', 'garbage|1:1:100|USD|1000|', AN_HOUR_MS],
  ['was placed at no time', `${ID}0|1:1:100|USD|abc|`, AN_HOUR_MS],
  ['has less than no units', `${ID}0|1:-1:100|USD|1000|`, AN_HOUR_MS],
] as const) {
  t.test(`a hold that ${what} keeps no shard from opening`, async (t) => {
    const app = await build(t)
    const id = await app.product(10)
    const { hold_id } = await app.hold(id, 2)
    const holds = app.engine.keys.shard(0, 'holds')
    await app.redis.zadd(holds, Date.now() + in_ms, member)
    await app.redis.unlink(app.engine.keys.shard(0, 'epoch'))
    await isWhole(app)
    t.match(await app.call('GET', `/api/holds/${hold_id}`), { status: 200 })
    t.match(await app.stock(id), { available: 8, held: 2 })
    t.equal(await app.redis.zscore(holds, member), null)
  })
}

for (const name of ['epoch', 'commits', 'buyers', 'bought', 'dead'] as const) {
  t.test(`nor does something else in the place of the key ${name}`, async (t) => {
    const app = await build(t)
    const id = await app.product(5, { max_per_customer: 5 })
    const { order_id } = await app.order(await app.hold(id, 1, { customer_id: 'ada' }))
    const key = app.engine.keys.shard(0, name)
    await app.redis.unlink(key)
    await (name === 'epoch' ? app.redis.hset(key, 'a', 'b') : app.redis.set(key, 'text'))
    app.engine.fence.close(0, 'a repair was asked for', 'wrong')
    await isWhole(app)
    t.match(await app.paid(order_id, 'success'), { outcome: 'applied' })
    await app.agree(t, 'afterwards')
  })
}
