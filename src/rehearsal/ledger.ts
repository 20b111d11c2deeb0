import type { Call, Loss } from './histories/calls.ts'

/** What the service has acknowledged during a rehearsal, and what it must still know afterwards. */
export type Ledger = ReturnType<typeof createLedger>

export type Promised =
  | { kind: 'order'; order_id: string; qty: number }
  | { kind: 'cancellation'; order_id: string }
  | { kind: 'payment'; order_id: string; idempotency_key: string; outcome: string }

/** A hold that was answered 201, with what its buyer has asked for since. */
export type Placed = {
  order_id: string
  placed_ms: number
  expires_at_ms: number
  /** Whether a payment was sent before the order: such a hold becomes an order by itself. */
  is_prepaid: boolean
  is_cancelled: boolean
}

/** An order that was refused: by which code, asked for first and answered last at these moments. */
export type Refused = { order_id: string; code: string; asked_ms: number; answered_ms: number }

export function createLedger() {
  const promised: Promised[] = []
  const placed = new Map<string, Placed>()
  const refused: Refused[] = []
  /** Keys of payments that were sent, answered or not. */
  const payments: string[] = []
  /** Keys of changes of stock that were acknowledged. */
  const adjustments: string[] = []
  const counts = { requests: 0, held: 0, refused: 0, released: 0, unavailable: 0, broken_replies: 0 }
  const surprises: string[] = []
  return {
    promised,
    placed,
    refused,
    payments,
    adjustments,
    counts,
    /** Answers that no state of the service explains. */
    surprises,
    /** Every call, for the search of an order that explains what they were answered. */
    calls: [] as Call[],
    losses: [] as Loss[],
    /** Holds that were placed until then may be gone, since Redis lost something. 0 where it did not. */
    redis_lost_until_ms: 0,
    promise: (one: Promised) => promised.push(one),
    /** Notes a hold that was granted. Returns the note, which its buyer keeps up. */
    place(order_id: string, expires_at_ms: number): Placed {
      const one = { order_id, placed_ms: Date.now(), expires_at_ms, is_prepaid: false, is_cancelled: false }
      placed.set(order_id, one)
      return one
    },
  }
}
