import type { Redis } from 'ioredis'
import { NAIVE_EXPIRY, NAIVE_SCRIPT, naiveHold, naiveProduct } from '../baselines/naive.ts'
import { HOLD_TTL_MS, newId } from '../baselines/serve.ts'
import type { Context } from './context.ts'

const BATCH = 128

/**
 * Memory that Redis needs for its keys, without the buffers of its clients and of its log. Not `used_memory_dataset`, which
 * leaves out what the table of all keys takes.
 */
async function dataBytes(redis: Redis): Promise<number> {
  const info = await redis.info('memory')
  const read = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0)
  return read('used_memory') - read('mem_clients_normal') - read('mem_aof_buffer')
}

async function placeNaive({ stage, ground, options }: Context): Promise<void> {
  const { redis } = stage
  const sha = (await redis.script('LOAD', NAIVE_SCRIPT)) as string
  const product_id = ground.products.plenty
  const place = () => {
    const id = newId()
    const keys = [naiveProduct(product_id), naiveHold(id), NAIVE_EXPIRY]
    return redis.evalsha(sha, keys.length, ...keys, id, product_id, 1, HOLD_TTL_MS)
  }
  for (let at = 0; at < options.memory_holds; at += BATCH) {
    await Promise.all(Array.from({ length: Math.min(BATCH, options.memory_holds - at) }, place))
  }
}

/** What a live hold takes in Redis, and what it takes with a key of its own and a member of a sorted set. */
export async function memory(context: Context, round: number): Promise<void> {
  const { stage, ground, options, samples, say } = context
  const arms = {
    'memory-hold': async () => {
      const engine = await ground.openEngine()
      await ground.placeHolds(engine, ground.products.plenty, options.memory_holds)
    },
    'memory-naive': () => placeNaive(context),
  }
  for (const [arm, place] of Object.entries(arms)) {
    await ground.reset()
    const before = await dataBytes(stage.redis)
    await place()
    const bytes = ((await dataBytes(stage.redis)) - before) / options.memory_holds
    samples.push({ arm, connections: 0, round, figures: { bytes } })
    say(`  ${arm}: ${Math.round(bytes)} bytes a hold`)
  }
}
