import type { ServerResponse } from 'node:http'
import type { Engine } from '../engine/engine.ts'
import type { Product } from '../engine/products.ts'
import { presentStock } from './present.ts'

/** A change shows within 250 ms, and no product sends more than some four events a second. */
const TICK_MS = 220
/** Proxies cut connections that stay silent for half a minute. */
const HEARTBEAT_MS = 15_000
/** A listener that reads so slowly that this much waits for it is dropped. */
const MAX_UNSENT_BYTES = 64 * 1024

export type StockStream = ReturnType<typeof createStockStream>

/**
 * Tells listeners of stock: each product that somebody listens to is read once a tick, however many listen, and all of
 * a shard with one call.
 */
export function createStockStream(engine: Engine) {
  /** What each listener was told last: two that came at different moments may not have seen the same. */
  const listeners_by_product = new Map<number, Map<ServerResponse, string>>()
  let timer: NodeJS.Timeout | undefined
  let beat_at_ms = Date.now() + HEARTBEAT_MS

  const format = (product: Product) => `event: stock\ndata: ${JSON.stringify(presentStock(product))}\n\n`

  function send(listener: ServerResponse, text: string): void {
    if (listener.writableLength > MAX_UNSENT_BYTES) listener.destroy()
    else listener.write(text)
  }

  async function tell(product_id: number, listeners: Map<ServerResponse, string>): Promise<void> {
    const product = await engine.readProduct(product_id).catch(() => undefined)
    if (!product) return
    const text = format(product)
    for (const [listener, last] of listeners) {
      if (last === text) continue
      listeners.set(listener, text)
      send(listener, text)
    }
  }

  async function tick(): Promise<void> {
    const now_ms = Date.now()
    if (now_ms >= beat_at_ms) {
      beat_at_ms = now_ms + HEARTBEAT_MS
      for (const listeners of listeners_by_product.values()) {
        for (const listener of listeners.keys()) send(listener, ': still here\n\n')
      }
    }
    await Promise.all([...listeners_by_product].map(([product_id, listeners]) => tell(product_id, listeners)))
    schedule()
  }

  function schedule(): void {
    timer = listeners_by_product.size > 0 ? setTimeout(tick, TICK_MS) : undefined
  }

  function leave(product_id: number, listener: ServerResponse): void {
    const listeners = listeners_by_product.get(product_id)
    listeners?.delete(listener)
    if (listeners?.size === 0) listeners_by_product.delete(product_id)
  }

  return {
    /** Sends the product as it is now, then every change, until the listener goes. */
    listen(product: Product, listener: ServerResponse): void {
      listener.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        connection: 'keep-alive',
      })
      const text = format(product)
      listener.write(text)
      const listeners = listeners_by_product.get(product.id) ?? new Map<ServerResponse, string>()
      listeners_by_product.set(product.id, listeners.set(listener, text))
      listener.on('close', () => leave(product.id, listener))
      if (timer === undefined) schedule()
    },
    /** Ends all streams. */
    close(): void {
      clearTimeout(timer)
      for (const listeners of listeners_by_product.values()) {
        for (const listener of listeners.keys()) listener.end()
      }
      listeners_by_product.clear()
    },
  }
}
