import type { Entry } from '../engine/records.ts'

/** What the parts of the service tell of their work: once a call or a batch, never once a request. */
export type Observer = {
  /** Requests of this kind went out together. */
  gathered(what: string, requests: number): void
  /** Redis has answered a script, or has failed to. */
  ranScript(name: string, seconds: number): void
  /** PostgreSQL has answered, or has failed to. */
  ranSql(what: 'query' | 'transaction', seconds: number): void
  /** These journal entries are in PostgreSQL now, by one transaction. */
  committed(entries: Entry[]): void
  /** A sweep gave back the units of so many dead holds or unpaid orders, the latest of them so late. */
  expired(kind: 'hold' | 'order', count: number, late_ms: number): void
  /** A shard was rebuilt. */
  rebuilt(): void
  /** A script found counters that can not be. */
  foundBroken(): void
}
