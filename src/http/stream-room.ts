/** What following costs a process. */
export type Following = {
  /** Connections: some 20 KB of memory each, and some 10 µs with every event. */
  listeners: number
  /** Products that anybody follows: some 5 µs of Redis each a tick. */
  products: number
  /** Products of all connections together: some 200 bytes each with every event. */
  follows: number
}

export const MAX_FOLLOWING: Following = { listeners: 10_000, products: 1_000, follows: 100_000 }
/** Until this share of what there is has been taken, anybody may take it: there are crowds behind one address. */
const OPEN_SHARE = 0.5
/** Of the rest one client gets no more than makes this share: then there is room for somebody else. */
const SHARE_OF_ONE = 0.1

type Tally = { listeners: number; follows: number; products: Map<number, number> }

const newTally = (): Tally => ({ listeners: 0, follows: 0, products: new Map() })

function add(tally: Tally, product_ids: number[], by: 1 | -1): void {
  tally.listeners += by
  tally.follows += by * product_ids.length
  for (const id of product_ids) {
    const count = (tally.products.get(id) ?? 0) + by
    if (count === 0) tally.products.delete(id)
    else tally.products.set(id, count)
  }
}

const withMore = ({ listeners, follows, products }: Tally, product_ids: number[]): Following => ({
  listeners: listeners + 1,
  follows: follows + product_ids.length,
  products: products.size + product_ids.filter((id) => !products.has(id)).length,
})

/** The room for those who follow stock in this process, shared out so that no client takes it all. */
export function createRoom(max: Following) {
  const all = newTally()
  const clients = new Map<string, Tally>()

  return {
    /** Whether another listener to these products finds a place; if not, whether it is this client that has so many. */
    roomFor(client: string, product_ids: number[]): 'room' | 'full' | 'client_full' {
      const together = withMore(all, product_ids)
      const own = withMore(clients.get(client) ?? newTally(), product_ids)
      const before: Following = { ...all, products: all.products.size }
      const short = (Object.keys(max) as Array<keyof Following>).filter(
        (what) => together[what] > before[what] && together[what] > max[what] * OPEN_SHARE,
      )
      if (short.some((what) => own[what] > Math.max(1, max[what] * SHARE_OF_ONE))) return 'client_full'
      return short.some((what) => together[what] > max[what]) ? 'full' : 'room'
    },

    enter(client: string, product_ids: number[]): void {
      const own = clients.get(client) ?? newTally()
      clients.set(client, own)
      for (const tally of [all, own]) add(tally, product_ids, 1)
    },

    leave(client: string, product_ids: number[]): void {
      const own = clients.get(client)
      if (!own) return
      for (const tally of [all, own]) add(tally, product_ids, -1)
      if (own.listeners === 0) clients.delete(client)
    },
  }
}
