import type { Terms } from '../engine/products.ts'
import { UnavailableError } from '../errors.ts'
import type { Sql } from './client.ts'
import { isBehind } from './marks.ts'
import { PRODUCT_COLUMNS, type ProductRecord, type ProductRow, toProduct } from './products.ts'
import { findShard } from './shards.ts'

/** Locks of shelves follow this number: the first two products of one shelf must not be created side by side. */
const SHELF_LOCK = 4_863_300
/** Rounds of drawing ids; others draw from the same sequence meanwhile. */
const MAX_DRAWS = 20
/** How long the process that changed terms has to bring them to Redis before others do. */
const MIN_AGE_SECONDS = 2
const MAX_LEFT = 100
const BEHIND = 'PostgreSQL has come back from the past'

/** A product with where it stands. */
export type Shelved = ProductRecord & { shelf: string | null }

type ShelvedRow = ProductRow & { shelf: string | null }
type Loaded = { loaded_version: number }

const SHELVED = `${PRODUCT_COLUMNS}, p.shelf, 0 as pending, 0 as sold`
const toShelved = ({ shelf, ...row }: ShelvedRow): Shelved => ({ ...toProduct(row), shelf })

export const valuesOf = (terms: Terms) => [
  terms.name,
  terms.unit_amount,
  terms.currency,
  terms.hold_ttl_ms,
  terms.starts_at_ms,
  terms.ends_at_ms,
  terms.paused,
  terms.max_per_hold,
  terms.max_per_customer,
]

/**
 * A new id whose remainder names the shard that the shelf has, if it has one: every process finds a product's shard by its id.
 * Null where none was drawn, since others drew them.
 */
async function drawId(sql: Sql, shelf: string | null, shards: number): Promise<number | null> {
  let shard: number | null = null
  if (shelf !== null) {
    await sql.query('select pg_advisory_xact_lock($1, hashtext($2))', [SHELF_LOCK, shelf])
    const { rows } = await sql.query<{ shard: number }>(
      'select shard from products where shelf = $1 limit 1',
      [shelf],
    )
    shard = rows[0]?.shard ?? null
  }
  for (let draws = 0; draws < MAX_DRAWS; draws += 1) {
    const { rows } = await sql.query<{ id: number }>(
      `select id from (select nextval(pg_get_serial_sequence('products', 'id')) as id from generate_series(1, $1::int)) as drawn
        where $2::int is null or id % $1::int = $2::int limit 1`,
      [shards, shard],
    )
    if (rows[0]) return rows[0].id
  }
  return null
}

/**
 * Nobody was told yet of a product of which Redis is not known to have anything, unless a PostgreSQL that came back from the past has
 * lost that note: so it is neither there nor denied until a sweeper has brought it to Redis.
 */
export function refuseUnloaded(loaded_version: number): void {
  if (loaded_version === 0) throw new UnavailableError('unavailable', 'the product is not on sale yet')
}

/** Creates a product: on a shelf, in the shard of the shelf. Redis does not know of it yet. */
export async function createProduct(
  sql: Sql,
  terms: Terms,
  total: number,
  shelf: string | null,
  shards: number,
): Promise<Shelved> {
  // Any shard may know a product that has the next id already.
  if (await isBehind(sql)) throw new UnavailableError('recovering', BEHIND)
  const id = await drawId(sql, shelf, shards)
  if (id === null) throw new UnavailableError('unavailable', `no id was free for the shelf ${shelf}`)
  await sql.query({
    name: 'create-product',
    text: `insert into products (name, unit_amount, currency, hold_ttl_seconds, starts_at, ends_at, paused, max_per_hold,
        max_per_customer, id, total, shelf, shard, loaded_version)
      values ($1, $2, $3, $4::bigint / 1000, to_timestamp($5::bigint / 1000.0), to_timestamp($6::bigint / 1000.0), $7, $8,
        $9, $10, $11, $12, $10::bigint % $13::int, 0)`,
    values: [...valuesOf(terms), id, total, shelf, shards],
  })
  return { id, shard: id % shards, total, pending: 0, sold: 0, version: 1, terms, shelf }
}

/**
 * Changes the terms of a product: `change` gets it as it stands and returns its new terms, or what is wrong with them. One
 * change comes after the other, and each has a version higher than the one before. Undefined: there is no such product.
 */
export async function changeTerms<Wrong>(
  sql: Sql,
  id: number,
  change: (product: Shelved) => { terms: Terms } | { wrong: Wrong },
): Promise<Shelved | { wrong: Wrong } | undefined> {
  const { rows } = await sql.query<ShelvedRow & Loaded>({
    name: 'lock-terms',
    text: `select ${SHELVED}, p.loaded_version from products p where p.id = $1 for no key update`,
    values: [id],
  })
  const [row] = rows
  if (!row) return undefined
  const { loaded_version, ...shelved } = row
  refuseUnloaded(loaded_version)
  const product = toShelved(shelved)
  // Its Redis may know later terms, which a change of these would take for older ones.
  if ((await findShard(sql, product.shard)).is_behind) throw new UnavailableError('recovering', BEHIND)
  const changed = change(product)
  if ('wrong' in changed) return changed
  await sql.query({
    name: 'change-terms',
    text: `update products set name = $1, unit_amount = $2, currency = $3, hold_ttl_seconds = $4::bigint / 1000,
        starts_at = to_timestamp($5::bigint / 1000.0), ends_at = to_timestamp($6::bigint / 1000.0), paused = $7,
        max_per_hold = $8, max_per_customer = $9, terms_version = terms_version + 1, terms_changed_at = now()
      where id = $10`,
    values: [...valuesOf(changed.terms), id],
  })
  return { ...product, terms: changed.terms, version: product.version + 1 }
}

/** Products whose terms somebody committed and then failed to bring to Redis; `is_new` where it has never had any of theirs. */
export async function termsLeft(sql: Sql, shards: number[]): Promise<Array<Shelved & { is_new: boolean }>> {
  const { rows } = await sql.query<ShelvedRow & { is_new: boolean }>({
    name: 'terms-left',
    text: `select ${SHELVED}, p.loaded_version = 0 and p.committed = 0 as is_new from products p
      where p.loaded_version < p.terms_version and p.terms_changed_at < now() - make_interval(secs => $1)
        and p.shard = any($3::int[]) order by p.id limit $2`,
    values: [MIN_AGE_SECONDS, MAX_LEFT, shards],
  })
  return rows.map(({ is_new, ...row }) => ({ ...toShelved(row), is_new }))
}

/** Notes that Redis has had the terms of this version. */
export async function markLoaded(sql: Sql, id: number, version: number): Promise<void> {
  await sql.query({
    name: 'mark-loaded',
    text: 'update products set loaded_version = $2 where id = $1 and loaded_version < $2',
    values: [id, version],
  })
}
