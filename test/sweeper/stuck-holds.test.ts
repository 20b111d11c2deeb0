import t from 'tap'
import { build } from '../fixtures/app.ts'
import { times, until } from '../fixtures/until.ts'

/** Fewer and more than one sweep takes. */
for (const count of [100, 130]) {
  t.test(`${count} dead holds of a product whose counters are broken hold up no other product`, async (t) => {
    const app = await build(t, { env: { HOLD_TTL_SECONDS: '1' }, sweeper: true })
    const [bad, good] = [await app.product(1_000), await app.product(1)]
    await times(count, () => app.hold(bad))
    await app.redis.hset(app.engine.keys.shard(0, 'products'), `${bad}:held`, 'many')
    await app.hold(good)
    await until('its unit to be back', async () => (await app.stock(good).catch(() => null))?.available === 1)
    t.equal((await app.call('POST', '/api/holds', { product_id: good, qty: 1 })).status, 201)
    t.match(await app.stock(bad), { available: 1_000, held: 0 }, 'it is counted anew')
    t.equal(app.log.filter((line) => /closed, because a record is broken/.test(line)).length, 1)
  })
}
