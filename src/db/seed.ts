import { StartError } from '../errors.ts'
import { openDb } from './client.ts'
import { seedProduct } from './products.ts'

const FIRST_PRODUCT = { name: 'Flash sale product', unit_amount: 9900, currency: 'USD', total: 100 }

/** Creates product 1 with 100 units where there is no product. Returns whether it did. Throws StartError. */
export async function ensureProduct(database_url: string, shards: number): Promise<boolean> {
  const db = openDb(database_url)
  try {
    return await db.transaction((sql) => seedProduct(sql, FIRST_PRODUCT, shards))
  } catch (error) {
    throw new StartError(
      `can not seed the database (${(error as Error).message}): correct DATABASE_URL or the database`,
    )
  } finally {
    await db.close()
  }
}
