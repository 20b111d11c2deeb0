import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import pg from 'pg'
import { quantile } from '../figures.ts'
import type { Job, LoadResult } from '../load/jobs.ts'

/* (f): what Redis and PostgreSQL can do at all, without HTTP and without a word about stock. */

export const LIMITS = ['evalsha', 'evalsha-alone', 'zpopmin', 'insert-128', 'insert-1'] as const
export type LimitName = (typeof LIMITS)[number]

const BATCH = 128
/** Members of the sorted set that are popped and filled in again. */
const MEMBERS = 12_800
const KEY = 'naive:limit'
const COLUMNS = `id, hold_id, shard, version, payment_status, order_status, amount, currency, created_at, pay_by,
  hold_created_at, hold_expires_at`

/** Does it until the time is up. `step` answers how many were done, `before` is not counted. */
async function repeat(
  seconds: number,
  step: () => Promise<number>,
  before?: () => Promise<unknown>,
): Promise<LoadResult> {
  const took_ms: number[] = []
  let [count, timed_ms] = [0, 0]
  while (timed_ms < seconds * 1000) {
    await before?.()
    const started_ms = performance.now()
    count += await step()
    const step_ms = performance.now() - started_ms
    took_ms.push(step_ms)
    timed_ms += step_ms
  }
  return {
    seconds: timed_ms / 1000,
    count_by_status: { 200: count },
    errors: 0,
    p50_ms: quantile(took_ms, 0.5),
    p99_ms: quantile(took_ms, 0.99),
  }
}

async function redisLimit(name: LimitName, redis: Redis, seconds: number): Promise<LoadResult> {
  const sha = (await redis.script('LOAD', 'return 1')) as string
  const call = () => redis.evalsha(sha, 1, KEY)
  switch (name) {
    case 'evalsha-alone':
      return repeat(seconds, async () => {
        await call()
        return 1
      })
    case 'evalsha':
      return repeat(seconds, async () => (await Promise.all(Array.from({ length: BATCH }, call))).length)
    default: {
      const members = Array.from({ length: MEMBERS }, (_, at) => [at, `${randomUUID()}${at}`]).flat()
      // As many commands on their way as there are requests in a batch of holds.
      const pop = async () => {
        for (let at = 0; at < MEMBERS; at += BATCH) {
          await Promise.all(Array.from({ length: BATCH }, () => redis.zpopmin(KEY)))
        }
        return MEMBERS
      }
      return repeat(seconds, pop, () => redis.zadd(KEY, ...members))
    }
  }
}

function postgresLimit(name: LimitName, sql: pg.Client, seconds: number): Promise<LoadResult> {
  const rows = name === 'insert-128' ? BATCH : 1
  const now = new Date()
  const statement = {
    name,
    text: `insert into baseline.orders (${COLUMNS})
      select id, 'hld_' || id, 0, 1, 'pending', 'pre-payment', amount, 'USD', created_at, created_at, created_at, created_at
      from unnest($1::text[], $2::bigint[], $3::timestamptz[]) as row (id, amount, created_at)`,
  }
  return repeat(seconds, async () => {
    const ids = Array.from({ length: rows }, () => randomUUID())
    await sql.query({ ...statement, values: [ids, ids.map(() => 9900), ids.map(() => now)] })
    return rows
  })
}

/** One connection; the count stands under status 200. */
export async function measureLimit(job: Extract<Job, { kind: 'limit' }>): Promise<LoadResult> {
  const { name, redis_url, database_url, seconds } = job
  if (name === 'insert-128' || name === 'insert-1') {
    const sql = new pg.Client({ connectionString: database_url })
    await sql.connect()
    try {
      return await postgresLimit(name, sql, seconds)
    } finally {
      await sql.end()
    }
  }
  const redis = new Redis(redis_url)
  try {
    return await redisLimit(name, redis, seconds)
  } finally {
    await redis.del(KEY)
    redis.disconnect()
  }
}
