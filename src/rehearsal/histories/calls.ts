/** What an answer says: its status, and of its body what an order of the calls has to explain. */
export type CallAnswer = {
  status: number
  code?: string
  data?: Record<string, unknown>
  available?: number
  reason?: string
}

/** One call of a client, as it saw it: what it sent to which process, when it began and ended, and what it was told. */
export type Call = {
  service: number
  method: string
  /** Behind /api. */
  path: string
  body?: Record<string, unknown>
  key?: string
  /** Wall-clock ms of a clock that never goes back, with parts of a ms. */
  began_ms: number
  ended_ms: number
  /** Undefined where no answer came, or one of 500 or above: its effect may come at any later moment, or never. */
  answer?: CallAnswer | undefined
  /** It had no effect and never will: nobody listened there, or the fence was closed before its only step. */
  is_void?: boolean
}

/** A Redis that may have lost something: from when on, and until when everybody knew. */
export type Loss = { began_ms: number; ended_ms: number }

/** What is recorded of one product during a rehearsal. It is plain data, so that it can be kept as JSON. */
export type Recording = {
  product_id: number
  total: number
  hold_ttl_ms: number
  order_ttl_ms: number
  /** By how much the clock of Redis may differ from that of the clients. */
  clock_slack_ms: number
  calls: Call[]
  losses: Loss[]
}

/** Now, by a clock that never goes back. */
export const nowMs = () => performance.timeOrigin + performance.now()
