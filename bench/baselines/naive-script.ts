import { Redis } from 'ioredis'
import { NAIVE_EXPIRY, NAIVE_SCRIPT, naiveHold, naiveProduct, readNaive } from './naive.ts'
import { addHoldRoute, HOLD_TTL_MS, serve } from './serve.ts'

/* (c): one EVALSHA a request, with a hash key and a member of a sorted set for every hold. */

const redis = new Redis(process.env.REDIS_URL ?? '')
const sha = (await redis.script('LOAD', NAIVE_SCRIPT)) as string

await serve((app) =>
  addHoldRoute(app, async (id, product_id, qty) => {
    const keys = [naiveProduct(product_id), naiveHold(id), NAIVE_EXPIRY]
    return readNaive(await redis.evalsha(sha, keys.length, ...keys, id, product_id, qty, HOLD_TTL_MS))
  }),
)
