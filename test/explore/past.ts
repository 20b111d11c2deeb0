import type { Redis } from 'ioredis'
import type pg from 'pg'

/* What a server had at a moment, and how it comes to have that again: as one does that was killed, or failed over to a copy. */

export type RedisCopy = Array<{ key: string; value: Buffer; ttl_ms: number }>

/** Everything that Redis has. */
export async function copyRedis(redis: Redis): Promise<RedisCopy> {
  const keys = await redis.keys('*')
  return Promise.all(
    keys.map(async (key) => ({
      key,
      value: await redis.dumpBuffer(key),
      ttl_ms: Math.max(0, await redis.pttl(key)),
    })),
  )
}

/** Redis has again what it had. Whether it is full does not matter to one that loads what it saved. */
export async function restoreRedis(redis: Redis, copy: RedisCopy): Promise<void> {
  const [, limit = '0'] = (await redis.config('GET', 'maxmemory')) as string[]
  await redis.config('SET', 'maxmemory', '0')
  const multi = redis.multi().flushall()
  for (const { key, value, ttl_ms } of copy) multi.restore(key, ttl_ms, value)
  await multi.exec()
  await redis.config('SET', 'maxmemory', limit)
}

const PAST = 'past'
/** Redone in one transaction, behind the backs of the triggers. */
const UNGUARDED = 'set local session_replication_role = replica'

/** Copies of tables, within the database itself. */
export function createPast(sql: pg.Client, tables: readonly string[]) {
  let counters: Array<{ name: string; value: string | null }> = []
  return {
    /** Remembers what the tables have now. */
    async copy(): Promise<void> {
      const copies = tables.map((table) => `create table ${PAST}.${table} as table ${table};`)
      await sql.query(
        `begin; drop schema if exists ${PAST} cascade; create schema ${PAST}; ${copies.join('')} commit`,
      )
      const { rows } = await sql.query<{ name: string; value: string | null }>(
        `select format('%I.%I', schemaname, sequencename) as name, last_value::text as value from pg_sequences where schemaname = 'public'`,
      )
      counters = rows
    },

    /** The tables have again what was remembered. Nobody may be at them. */
    async restore(): Promise<void> {
      const names = tables.join()
      const rows = tables.map(
        (table) => `insert into ${table} overriding system value table ${PAST}.${table};`,
      )
      await sql.query(`begin; ${UNGUARDED}; truncate ${names}; ${rows.join('')} commit`)
      for (const { name, value } of counters) {
        await sql.query('select setval($1, $2, $3)', [name, value ?? 1, value !== null])
      }
    },
  }
}
