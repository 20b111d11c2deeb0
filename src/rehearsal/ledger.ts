/** What the service has acknowledged during a rehearsal, and what it must still know afterwards. */
export type Ledger = ReturnType<typeof createLedger>

export type Promised =
  | { kind: 'order'; order_id: string; qty: number }
  | { kind: 'cancellation'; order_id: string }
  | { kind: 'payment'; order_id: string; idempotency_key: string; outcome: string }

export function createLedger() {
  const promised: Promised[] = []
  const counts = { requests: 0, held: 0, refused: 0, released: 0, unavailable: 0, broken_replies: 0 }
  const surprises: string[] = []
  return {
    promised,
    counts,
    /** Answers that no state of the service explains. */
    surprises,
    promise: (one: Promised) => promised.push(one),
  }
}
