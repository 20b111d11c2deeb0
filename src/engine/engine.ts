import type { Observer } from '../metrics/observer.ts'
import type { FindBought } from './bought.ts'
import { epochText, readEpoch } from './epochs.ts'
import { createFence, type Fence, type OnClose } from './fence.ts'
import { createHoldList } from './hold-list.ts'
import { createHolds } from './holds.ts'
import { installationOfId, shortName } from './ids.ts'
import { createJournal } from './journal.ts'
import { createKeys } from './keys.ts'
import type { Nodes } from './nodes.ts'
import { createOrders } from './orders.ts'
import { createPayments } from './payments.ts'
import { createPlaces } from './places.ts'
import { createProducts } from './products.ts'
import { createRebuilding } from './rebuilding.ts'
import { ask } from './redis.ts'
import { createRemembered } from './remembered.ts'
import { createRun, noteElsewhere } from './run.ts'
import { createSweeping } from './sweeping.ts'

export type EngineOptions = {
  nodes: Nodes
  /** Number of shards, at most 4096. */
  shards: number
  hold_ttl_ms: number
  order_ttl_ms: number
  /** What all keys begin with. */
  prefix?: string
  /** Which installation it is, as 32 hex digits: its Redis and its ids name it. '' names none. */
  installation?: string
  /** Asks PostgreSQL what customers bought; without it whoever may have bought before a rebuild gets no holds where there is a limit. */
  findBought?: FindBought
  /** Hears why a shard was closed, and how much of it is in doubt. */
  on_close?: OnClose
  /** Hears of broken invariants. */
  on_alarm?: (message: string) => void
  observer?: Observer
}

export type Engine = ReturnType<typeof createEngine>

/**
 * The engine: one method a transition, each of them one script and so one indivisible step of one shard. It knows
 * neither HTTP nor PostgreSQL. Every method rejects with UnavailableError when Redis can not be trusted to have done
 * what was asked; all other refusals are answers.
 */
export function createEngine(options: EngineOptions) {
  const { nodes, shards, hold_ttl_ms, order_ttl_ms, observer } = options
  const prefix = options.prefix ?? 'hf'
  const { installation = '', on_alarm = () => {} } = options
  const keys = createKeys(prefix)
  const fence: Fence = createFence(options.on_close ?? (() => {}))
  const run = createRun({
    nodes,
    keys,
    fence,
    epochText: (epoch) => epochText(epoch, installation),
    on_alarm,
    observer,
  })
  const places = createPlaces({ shards, fence })
  let longest_hold_ttl_ms = hold_ttl_ms

  const { shardOfProduct, knowMoves, mayHaveMoved, hasMoved } = places
  const orders = createOrders({ run, keys, fence, places, shards, order_ttl_ms, observer })
  const payments = createPayments({ run, keys, fence, places, longestHoldTtlMs: () => longest_hold_ttl_ms })
  const products = createProducts({ run, keys, fence, shards, shardOfProduct, hold_ttl_ms, observer })
  return {
    shards,
    hold_ttl_ms,
    order_ttl_ms,
    prefix,
    installation,
    keys,
    nodes,
    fence,
    shardOfProduct,
    /** Tells of products that were moved, before their shards are opened. */
    knowMoves,
    mayHaveMoved,
    hasMoved,
    ...createHolds({
      ...{ run, keys, fence, shards, places, hold_ttl_ms, installation, observer },
      findBought: options.findBought,
    }),
    ...createHoldList({ run, shards, shardOfProduct }),
    ...orders,
    ...payments,
    ...createSweeping({ nodes, run, keys, fence, ...orders, ...payments }),
    ...products,
    ...createRebuilding({ nodes, run, keys }),
    remembered: createRemembered({ nodes, keys, installation }),
    journal: createJournal({ nodes, run, keys, fence, on_alarm }),

    /** Whether an id names this installation. Ids of version 0.1 name none. */
    isOwnId: (id: string): boolean => installationOfId(id) === shortName(installation),

    /** Tells in which shard a product lives, unless it is known to have been moved, and how long its holds last. */
    knowProduct(product_id: number, shard: number, product_hold_ttl_ms: number | null): void {
      places.knowProduct(product_id, shard)
      longest_hold_ttl_ms = Math.max(longest_hold_ttl_ms, product_hold_ttl_ms ?? 0)
    },

    /**
     * Asks Redis whether each open shard still has the epoch in which this process believes; closes those that have not.
     * Returns the shards whose server does not answer.
     */
    async probe(): Promise<number[]> {
      const probed = Array.from({ length: shards }, (_, shard) => shard).map(async (shard) => {
        try {
          const found = await readEpoch(nodes.of(shard), keys.shard(shard, 'epoch'))
          if (fence.isOpen(shard) && found !== epochText(fence.epoch(shard), installation)) {
            fence.close(shard, 'Redis has another epoch or none', 'state')
          }
          return undefined
        } catch (error) {
          noteElsewhere(fence, shard, error as Error)
          return shard
        }
      })
      return (await Promise.all(probed)).filter((shard) => shard !== undefined)
    },

    /** For how long the next dead hold or unpaid order has been waiting for a sweep, in ms; 0 where nothing is due. */
    async overdueMs(shard: number): Promise<number> {
      const ends = await Promise.all(
        (['holds', 'deadlines'] as const).map((name) =>
          ask(name, nodes.of(shard).zrange(keys.shard(shard, name), '0', '0', 'WITHSCORES')),
        ),
      )
      const [seconds = 0, micros = 0] = (await ask('clock', nodes.of(shard).time())).map(Number)
      const now_ms = seconds * 1000 + Math.floor(micros / 1000)
      return Math.max(0, ...ends.flatMap(([, score]) => (score === undefined ? [] : now_ms - Number(score))))
    },
  }
}
