import { setTimeout } from 'node:timers/promises'
import type { Draw } from '../random.ts'
import { createAsker } from './ask.ts'
import type { Ledger } from './ledger.ts'

/** Often enough that few steps lie between two looks: each of them pins down where all units are. */
const PAUSE_MIN_MS = 5
const PAUSE_MAX_MS = 30
/** How many orders are read at once at the end. */
const READERS = 8

/** Reads a product again and again, at one process and the other, until `stop` is aborted. */
export async function look(
  ledger: Ledger,
  options: { urls: string[]; product_id: number; draw: Draw; stop: AbortSignal },
): Promise<void> {
  const { urls, product_id, draw, stop } = options
  const asker = createAsker(ledger, urls, draw)
  while (!stop.aborted) {
    await asker.ask('GET', draw() < 0.5 ? `/products/${product_id}` : `/products/${product_id}/stock`)
    const pause_ms = PAUSE_MIN_MS + draw() * (PAUSE_MAX_MS - PAUSE_MIN_MS)
    await setTimeout(pause_ms, undefined, { signal: stop }).catch(() => {})
  }
}

/** Reads the order of every hold, and the product: how everything ended belongs to the history. */
export async function lookBack(
  ledger: Ledger,
  options: { urls: string[]; product_id: number; draw: Draw },
): Promise<void> {
  const { urls, product_id, draw } = options
  const asker = createAsker(ledger, urls, draw)
  const left = [...ledger.placed.keys()]
  const read = async () => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) await asker.ask('GET', `/orders/${id}`)
  }
  await Promise.all(Array.from({ length: READERS }, read))
  await asker.ask('GET', `/products/${product_id}`)
}
