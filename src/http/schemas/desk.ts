import { Type } from '@sinclair/typebox'
import { Count, Nullable, Time } from './common.ts'

/** A number that may be missing: null where the service does not measure it, or can not at this moment. */
const Measured = (description: string) => Nullable(Type.Number({ description }))
const Numbers = (description: string) =>
  Type.Array(Nullable(Type.Number()), { description: `${description}; null where nothing is known` })

const Series = Type.Object(
  {
    at: Type.Array(Time('When the five seconds ended that the values tell of')),
    holds_granted: Numbers('Holds granted a second'),
    holds_refused: Numbers('Holds refused a second'),
    orders_created: Numbers('Orders created a second'),
    expired: Numbers('Holds and orders expired a second'),
    p50_ms: Numbers('Half of the requests for holds were answered within'),
    p99_ms: Numbers('99 of 100 requests for holds were answered within'),
  },
  { description: 'The last ten minutes, oldest first' },
)

const EXAMPLE = {
  taken_at: '2026-01-31T12:00:00.000Z',
  refunds_open: 0,
  journal_entries: 3,
  journal_age_seconds: 0.02,
  fence: [{ shard: 0, is_open: true }],
  workers: null,
  series: {
    at: ['2026-01-31T12:00:00.000Z'],
    holds_granted: [812.4],
    holds_refused: [95.2],
    orders_created: [301.6],
    expired: [0],
    p50_ms: [2.5],
    p99_ms: [9.1],
  },
}

export const Desk = Type.Object(
  {
    taken_at: Nullable(Time('When the numbers were taken; null while they can not be')),
    refunds_open: Measured('Payments that are due for refund'),
    journal_entries: Measured('Entries that PostgreSQL may not have yet'),
    journal_age_seconds: Measured('Age of the oldest of them'),
    fence: Type.Array(Type.Object({ shard: Count('Shard'), is_open: Type.Boolean() })),
    workers: Measured('Processes that serve the API, where there are several'),
    series: Series,
  },
  { examples: [EXAMPLE] },
)
