import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { Draw } from '../random.ts'
import { createAsker } from './ask.ts'
import type { Ledger } from './ledger.ts'

/** Seldom enough that most units still come back from buyers, often enough to meet them on their way. */
const PAUSE_MIN_MS = 40
const PAUSE_MAX_MS = 160
const TAKE_OUT_SHARE = 0.35
const MAX_TAKEN_OUT = 3
const MAX_ADDED = 5

/** Adds a few units to a product, or takes a few free ones out, again and again until `stop` is aborted. */
export async function restock(
  ledger: Ledger,
  options: {
    urls: string[]
    product_id: number
    token: string | undefined
    draw: Draw
    stop: AbortSignal
  },
): Promise<void> {
  const { urls, product_id, token, draw, stop } = options
  const asker = createAsker(ledger, urls, draw)
  while (!stop.aborted) {
    const takes_out = draw() < TAKE_OUT_SHARE
    const units = 1 + Math.floor(draw() * (takes_out ? MAX_TAKEN_OUT : MAX_ADDED))
    const [key, delta] = [randomUUID(), takes_out ? -units : units]
    const answer = await asker.insist('POST', `/products/${product_id}/stock`, {
      body: { delta },
      key,
      token,
    })
    if (answer?.status === 200) ledger.adjustments.push(key)
    else if (answer && answer.body.code !== 'stock_in_use') {
      ledger.surprises.push(`a stock change by ${delta} was answered ${answer.status} ${answer.body.code}`)
    }
    const pause_ms = PAUSE_MIN_MS + draw() * (PAUSE_MAX_MS - PAUSE_MIN_MS)
    await setTimeout(pause_ms, undefined, { signal: stop }).catch(() => {})
  }
}
