import type { ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Engine } from '../engine/engine.ts'
import type { FollowedProduct } from '../engine/products.ts'
import { presentFollowed, presentStock } from './present.ts'
import { createRoom, type Following, MAX_FOLLOWING } from './stream-room.ts'

/** How often Redis is asked: so soon shows a change that comes after a quiet moment. */
const TICK_MS = 125
/** After an event a product rests for one tick: at most four events a second, and every change shows within 250 ms. */
const TICKS_BETWEEN = 2
/** Proxies cut connections that stay silent for half a minute. */
const HEARTBEAT_MS = 15_000
/** A listener to whom nothing could be sent for so long is dropped. */
const MAX_BEHIND_MS = 10_000
/** Between so many writes the process turns to the requests of buyers: they wait half a millisecond at most. */
const WRITES_A_TURN = 50
/** Likewise between so many looks at what a listener was told last. */
const LOOKS_A_TURN = 2_000

/** What a stream needs of a response. */
export type Listener = Pick<
  ServerResponse,
  'writeHead' | 'write' | 'end' | 'destroy' | 'destroyed' | 'writableLength' | 'on'
>
export type Format = (product: FollowedProduct) => string
export type StockStream = ReturnType<typeof createStockStream>

type Follower = {
  client: string
  format: Format
  product_ids: number[]
  behind_since_ms?: number | undefined
}
type Followed = { told_at_tick: number; last: Map<Listener, string> }
/** What a listener has not been told yet. */
type News = Array<{ one: Followed; text: string }>

const event = (data: object) => `event: stock\ndata: ${JSON.stringify(data)}\n\n`
/** How those are told who follow one product, and how those who follow several. */
export const FORMATS = {
  one: (product) => event(presentStock(product)),
  many: (product) => event(presentFollowed(product)),
} satisfies Record<string, Format>

function byShard(engine: Engine, product_ids: number[]): Map<number, number[]> {
  const by_shard = new Map<number, number[]>()
  for (const id of product_ids) {
    const shard = engine.shardOfProduct(id)
    const ids = by_shard.get(shard)
    if (ids) ids.push(id)
    else by_shard.set(shard, [id])
  }
  return by_shard
}

/** The products of a shard as they are now, by one read; none where it can not be read. */
const readShard = (engine: Engine, shard: number, ids: number[]): Promise<FollowedProduct[]> =>
  engine.readStock(shard, ids).catch(() => [])

/** The products as they are now, by one read of each shard in which some of them live. Those that can not be read are left out. */
export async function readFollowed(engine: Engine, product_ids: number[]): Promise<FollowedProduct[]> {
  const reads = [...byShard(engine, product_ids)].map(([shard, ids]) => readShard(engine, shard, ids))
  return (await Promise.all(reads)).flat()
}

/**
 * Tells listeners of stock. Every product that somebody follows is read once a tick, all of a shard with one call, however many
 * follow it. Only the latest state counts: a listener who is slow misses events rather than having them wait for him.
 */
export function createStockStream(
  engine: Engine,
  limits: { max?: Following | undefined; max_behind_ms?: number; heartbeat_ms?: number } = {},
) {
  const { max = MAX_FOLLOWING, max_behind_ms = MAX_BEHIND_MS, heartbeat_ms = HEARTBEAT_MS } = limits
  const room = createRoom(max)
  const followers = new Map<Listener, Follower>()
  const followed = new Map<number, Followed>()
  /** Shards that were asked and are being told of. One that answers late is not asked again meanwhile, and holds up no other. */
  const busy = new Set<number>()
  let timer: NodeJS.Timeout | undefined
  let is_running = false
  let ticks = 0
  let writes = 0
  let looks = 0
  let beat_at_ms = 0

  /** Whether it went out: a listener that has not taken what came before gets nothing more, and after a while is dropped. */
  function send(listener: Listener, follower: Follower, text: string): boolean {
    if (listener.destroyed) return false
    if (listener.writableLength === 0) {
      follower.behind_since_ms = undefined
      listener.write(text)
      return true
    }
    const now_ms = performance.now()
    follower.behind_since_ms ??= now_ms
    if (now_ms - follower.behind_since_ms >= max_behind_ms) listener.destroy()
    return false
  }

  async function breathe(): Promise<void> {
    writes += 1
    if (writes % WRITES_A_TURN === 0) await nextTurn()
  }

  /** Who is to be told what of these products. */
  async function findNews(products: FollowedProduct[]): Promise<Map<Listener, News>> {
    const news = new Map<Listener, News>()
    for (const product of products) {
      const one = followed.get(product.id)
      const texts = new Map<Format, string>()
      for (const [listener, last] of one?.last ?? []) {
        looks += 1
        if (looks % LOOKS_A_TURN === 0) await nextTurn()
        const follower = followers.get(listener)
        if (!one || !follower) continue
        const text = texts.get(follower.format) ?? follower.format(product)
        texts.set(follower.format, text)
        if (text === last) continue
        const own = news.get(listener) ?? []
        news.set(listener, own)
        own.push({ one, text })
      }
    }
    return news
  }

  /** All that a listener has to be told goes out as one write: one by one, each would have to wait until the one before has gone. */
  async function tell(products: FollowedProduct[]): Promise<void> {
    for (const [listener, news] of await findNews(products)) {
      const follower = followers.get(listener)
      if (!follower || !send(listener, follower, news.map(({ text }) => text).join(''))) continue
      for (const { one, text } of news) {
        one.last.set(listener, text)
        one.told_at_tick = ticks
      }
      await breathe()
    }
  }

  async function beat(): Promise<void> {
    beat_at_ms = performance.now() + heartbeat_ms
    for (const [listener, follower] of followers) {
      send(listener, follower, ': still here\n\n')
      await breathe()
    }
  }

  async function tellOf(shard: number, ids: number[]): Promise<void> {
    if (busy.has(shard)) return
    busy.add(shard)
    await tell(await readShard(engine, shard, ids))
    busy.delete(shard)
  }

  async function tick(): Promise<void> {
    const started_ms = performance.now()
    ticks += 1
    const due = [...followed].flatMap(([id, one]) => (ticks - one.told_at_tick >= TICKS_BETWEEN ? [id] : []))
    for (const [shard, ids] of byShard(engine, due)) void tellOf(shard, ids)
    if (performance.now() >= beat_at_ms) await beat()
    is_running = followers.size > 0
    if (is_running) timer = setTimeout(tick, Math.ceil(TICK_MS - (performance.now() - started_ms)))
  }

  function leave(listener: Listener): void {
    const follower = followers.get(listener)
    if (!follower) return
    followers.delete(listener)
    room.leave(follower.client, follower.product_ids)
    for (const id of follower.product_ids) {
      const one = followed.get(id)
      one?.last.delete(listener)
      if (one?.last.size === 0) followed.delete(id)
    }
  }

  return {
    roomFor: room.roomFor,

    /** Sends a client the products as they are now, then every change, until the listener goes. */
    listen(listener: Listener, products: FollowedProduct[], format: Format, client: string): void {
      listener.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        connection: 'keep-alive',
      })
      const product_ids = products.map(({ id }) => id)
      followers.set(listener, { client, format, product_ids })
      room.enter(client, product_ids)
      listener.on('close', () => leave(listener))
      let first = ''
      for (const product of products) {
        const text = format(product)
        const one: Followed = followed.get(product.id) ?? { told_at_tick: 0, last: new Map() }
        one.last.set(listener, text)
        followed.set(product.id, one)
        first += text
      }
      listener.write(first)
      if (is_running) return
      is_running = true
      beat_at_ms = performance.now() + heartbeat_ms
      timer = setTimeout(tick, TICK_MS)
    },

    /** Ends all streams. */
    close(): void {
      clearTimeout(timer)
      for (const listener of followers.keys()) listener.end()
      followers.clear()
      followed.clear()
    },
  }
}
