import { orderId } from '../engine/ids.ts'
import type { Move } from '../engine/places.ts'
import { UnavailableError } from '../errors.ts'
import type { Sql } from './client.ts'
import { lockProducts } from './products.ts'
import { lockEpochs } from './shards.ts'

/** All moves of products, the earliest first. */
export async function findMoves(sql: Sql): Promise<Move[]> {
  const { rows } = await sql.query<Move>({
    name: 'find-moves',
    text: 'select move, product_id, from_shard, to_shard from product_moves order by move',
  })
  return rows
}

/** Where a product lives, and whether it was asked for. */
export type Shelved = { id: number; shard: number; is_named: boolean }

/** Products with the others of their shelves. */
export async function findShelved(sql: Sql, product_ids: number[]): Promise<Shelved[]> {
  const { rows } = await sql.query({
    name: 'find-shelved',
    text: `select id, shard, id = any($1::bigint[]) as is_named from products
      where loaded_version > 0 and (id = any($1::bigint[])
        or shelf in (select shelf from products where id = any($1::bigint[]) and shelf is not null))
      order by id`,
    values: [product_ids],
  })
  return rows
}

/** Other products that stand in unpaid orders of these. */
export async function orderedTogether(sql: Sql, shard: number, product_ids: number[]): Promise<number[]> {
  const { rows } = await sql.query<{ product_id: number }>({
    name: 'ordered-together',
    text: `select distinct other.product_id from orders o
      join order_items own on own.order_id = o.id and own.product_id = any($2::bigint[])
      join order_items other on other.order_id = o.id and other.product_id <> all($2::bigint[])
      where o.shard = $1 and o.order_status = 'pre-payment'`,
    values: [shard, product_ids],
  })
  return rows.map(({ product_id }) => product_id)
}

/**
 * Lets products of a shard live in another one, with their unpaid orders and what is parked for their holds. Throws
 * UnavailableError where either shard has another epoch: then somebody else rebuilds it. Returns how many unpaid orders there are.
 */
export async function moveProducts(
  sql: Sql,
  move: { product_ids: number[]; from: number; to: number; hold_ids: string[] },
  epochs: Map<number, number>,
): Promise<number> {
  const { product_ids, from, to, hold_ids } = move
  await sql.query('begin')
  const known = await lockEpochs(sql, [from, to])
  for (const [shard, epoch] of epochs) {
    if (known.get(shard) !== epoch) {
      throw new UnavailableError('recovering', `shard ${shard} is being rebuilt by somebody else`)
    }
  }
  await lockProducts(sql, product_ids)
  await sql.query('update products set shard = $2 where id = any($1::bigint[])', [product_ids, to])
  const { rowCount } = await sql.query(
    `update orders o set shard = $3 where o.shard = $2 and o.order_status = 'pre-payment'
      and exists (select from order_items i where i.order_id = o.id and i.product_id = any($1::bigint[]))`,
    [product_ids, from, to],
  )
  await sql.query(`update payments set shard = $2 where outcome = 'parked' and order_id = any($1::text[])`, [
    hold_ids.map(orderId),
    to,
  ])
  await sql.query(
    `insert into product_moves (product_id, from_shard, to_shard)
      select id, $2, $3 from unnest($1::bigint[]) as moved (id)`,
    [product_ids, from, to],
  )
  await sql.query('commit')
  return rowCount ?? 0
}
