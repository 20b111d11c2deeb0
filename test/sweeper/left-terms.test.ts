import t from 'tap'
import { build } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'

t.test(
  'terms that somebody left are brought to Redis, whatever keeps those of another product',
  async (t) => {
    const app = await build(t, { sweeper: true })
    const [bad, good] = [await app.product(5), await app.product(5)]
    await app.redis.hset(app.engine.keys.shard(0, 'products'), `${bad}:held`, 'many')
    await app.sql(
      `update products set unit_amount = 123, terms_version = terms_version + 1, terms_changed_at = now() - interval '1 min'`,
    )
    await until('the new price', async () => (await app.engine.readProduct(good))?.terms.unit_amount === 123)
  },
)
