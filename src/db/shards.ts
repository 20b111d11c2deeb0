import { UnavailableError } from '../errors.ts'
import type { Sql } from './client.ts'

/**
 * What a shard's Redis must be to be trusted as it is: its epoch, and which server it was. `is_behind`: PostgreSQL lacks what it had,
 * and what that Redis knows has to be written again before anything of it is forgotten.
 */
export type ShardRecord = { epoch: number; redis_identity: string; is_behind: boolean }

/** The record of a shard, with epoch 0 where the shard was never opened. */
export async function findShard(sql: Sql, shard: number): Promise<ShardRecord> {
  const { rows } = await sql.query<ShardRecord>({
    name: 'find-shard',
    text: 'select epoch, redis_identity, behind_since is not null as is_behind from shards where shard = $1',
    values: [shard],
  })
  return rows[0] ?? { epoch: 0, redis_identity: '', is_behind: false }
}

function refuseOvertaken(shard: number, count: number | null): void {
  if (count === 1) return
  throw new UnavailableError('recovering', `shard ${shard} is being rebuilt by somebody else`)
}

/**
 * Records a new epoch of a shard. Throws UnavailableError where it has that one already, or a later one: somebody else has the
 * shard.
 */
export async function raiseShard(
  sql: Sql,
  shard: number,
  { epoch, redis_identity }: Pick<ShardRecord, 'epoch' | 'redis_identity'>,
): Promise<void> {
  const { rowCount } = await sql.query({
    name: 'raise-shard',
    text: `insert into shards (shard, epoch, redis_identity) values ($1, $2, $3)
      on conflict (shard) do update set epoch = excluded.epoch, redis_identity = excluded.redis_identity
        where shards.epoch < excluded.epoch`,
    values: [shard, epoch, redis_identity],
  })
  refuseOvertaken(shard, rowCount)
}

/** Records which Redis has a shard since this epoch. Throws UnavailableError where it has another epoch by now. */
export async function saveShard(
  sql: Sql,
  shard: number,
  { epoch, redis_identity }: Pick<ShardRecord, 'epoch' | 'redis_identity'>,
): Promise<void> {
  const { rowCount } = await sql.query({
    name: 'save-shard',
    text: 'update shards set redis_identity = $3 where shard = $1 and epoch = $2',
    values: [shard, epoch, redis_identity],
  })
  refuseOvertaken(shard, rowCount)
}

/**
 * The epochs of these shards. No rebuild of them begins before the transaction that asks has ended, so what it writes is
 * there for a later rebuild to read.
 */
export async function lockEpochs(sql: Sql, shards: number[]): Promise<Map<number, number>> {
  const { rows } = await sql.query<{ shard: number; epoch: number }>({
    name: 'lock-epochs',
    text: 'select shard, epoch from shards where shard = any($1::int[]) order by shard for share',
    values: [shards],
  })
  return new Map(rows.map(({ shard, epoch }) => [shard, epoch]))
}

/** The highest epoch of all shards. */
export async function highestEpoch(sql: Sql): Promise<number> {
  const { rows } = await sql.query<{ epoch: number | null }>({
    name: 'highest-epoch',
    text: 'select max(epoch) as epoch from shards',
  })
  return rows[0]?.epoch ?? 0
}

/** The epochs of all shards that were ever opened. */
export async function findEpochs(
  sql: Sql,
): Promise<Array<{ shard: number; epoch: number; is_behind: boolean }>> {
  const { rows } = await sql.query({
    name: 'find-epochs',
    text: 'select shard, epoch, behind_since is not null as is_behind from shards',
  })
  return rows
}

/** The highest shard that a product lives in. */
export async function highestShard(sql: Sql): Promise<number> {
  const { rows } = await sql.query<{ shard: number | null }>('select max(shard) as shard from products')
  return rows[0]?.shard ?? 0
}
