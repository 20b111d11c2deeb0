import type { Sql } from './client.ts'

/** The epoch that a shard's Redis must have, or 0 where the shard was never opened. */
export async function shardEpoch(sql: Sql, shard: number): Promise<number> {
  const { rows } = await sql.query<{ epoch: number }>({
    name: 'shard-epoch',
    text: 'select epoch from shards where shard = $1',
    values: [shard],
  })
  return rows[0]?.epoch ?? 0
}

export async function saveShardEpoch(sql: Sql, shard: number, epoch: number): Promise<void> {
  await sql.query({
    name: 'save-shard-epoch',
    text: `insert into shards (shard, epoch) values ($1, $2) on conflict (shard) do update set epoch = excluded.epoch`,
    values: [shard, epoch],
  })
}
