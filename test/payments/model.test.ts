import fc from 'fast-check'
import t from 'tap'
import { openClockedService } from './fixtures/clocked-service.ts'
import { TTL_S } from './fixtures/sale-model.ts'
import { createPlayer, type Tally } from './fixtures/sequence.ts'
import { sequences } from './fixtures/sequences.ts'

/*
  MODEL_RUNS=50000 MODEL_SEED=7 npm test -- --timeout=0 test/payments/model.test.ts
  plays more of them; a failure names the seed and path that repeat it.
*/
const { MODEL_RUNS, MODEL_SEED } = process.env
const RUNS = Number(MODEL_RUNS || 2_000)
const SEED = Number(MODEL_SEED || Date.now() % 1_000_000)
/** On a slow machine fewer are played, unless a number was asked for. */
const LIMIT_MS = MODEL_RUNS ? Number.POSITIVE_INFINITY : 30_000
/** Sequences on their way at once, each in a shard of its own, with its own clock. */
const LANES = 24

/** What the sequences must have met, or they prove less than they say. */
const CELLS = [
  ...['success for no order: 202 parked', 'failed for no order: 202 parked'],
  ...['success for pending: 200 applied', 'failed for pending: 200 applied'],
  ...[
    'success for pending: 200 refund_due amount_mismatch',
    'success for paid: 200 refund_due amount_mismatch',
  ],
  ...['success for paid: 200 refund_due already_paid', 'failed for paid: 200 ignored'],
  ...['payment_failed', 'payment_timeout'].flatMap((state) => [
    `success for ${state}: 200 applied`,
    `success for ${state}: 200 refund_due no_units_left`,
    `success for ${state}: 200 refund_due amount_mismatch`,
    `failed for ${state}: 200 ignored`,
  ]),
  ...['success for requested: 200 refund_due order_cancelled', 'failed for requested: 200 ignored'],
  ...[
    'pay again: 200 duplicate',
    'pay again: 503 unavailable',
    'success for paid: 422 idempotency_key_reused',
  ],
  ...['create: 201', 'create keyed: 201', 'create: 503 unavailable', 'create keyed: 503 unavailable'],
  ...['create: 404 hold_not_found', 'create: 409 hold_already_used'],
  ...['create: 410 hold_expired', 'create: 410 hold_released'],
  ...[
    'cancel: 200',
    'cancel: 503 unavailable',
    'cancel: 409 order_not_pending',
    'cancel: 404 order_not_found',
  ],
  ...[
    'release: 204',
    'release: 503 unavailable',
    'release: 409 hold_already_used',
    'release: 410 hold_expired',
  ],
  ...['extend: 200', 'extend: 409 hold_already_used'],
  ...['parked success, then applied', 'parked failed, then applied', 'parked failed, then ignored'],
  ...['amount_mismatch', 'already_paid', 'hold_released', 'order_never_came'].map(
    (reason) => `parked success, then refund_due ${reason}`,
  ),
]

t.setTimeout(0)

t.test(
  `payments do what the contract says, in whatever sequence things happen (MODEL_SEED=${SEED})`,
  async (t) => {
    const service = await openClockedService(t, { shards: LANES, hold_s: TTL_S.hold, order_s: TTL_S.order })
    const tally: Tally = new Map()
    const play = createPlayer(service, tally)
    let played = 0
    const lanes = Array.from({ length: LANES }, async (_, lane) => {
      const property = fc.asyncProperty(sequences, ([start, steps]) => {
        played += 1
        return play(lane, start, steps)
      })
      const numRuns = Math.ceil(RUNS / LANES)
      await fc.assert(property, { seed: SEED + lane, numRuns, interruptAfterTimeLimit: LIMIT_MS })
    })
    const ends = await Promise.allSettled(lanes)
    t.comment(`${played} sequences`)
    t.comment(
      [...tally]
        .sort()
        .map(([name, count]) => `${count} ${name}`)
        .join('\n'),
    )
    for (const end of ends) if (end.status === 'rejected') t.fail(`${end.reason}\n${end.reason.cause}`)
    t.same(service.alarms, [], 'no invariant was broken')
    if (played >= RUNS)
      t.same(
        CELLS.filter((name) => !tally.has(name)),
        [],
        'every cell of the table was met',
      )
  },
)
