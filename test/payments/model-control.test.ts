import fc from 'fast-check'
import t from 'tap'
import { createDatabase } from '../fixtures/database.ts'
import { type Change, openClockedService } from './fixtures/clocked-service.ts'
import { TTL_S } from './fixtures/sale-model.ts'
import { createPlayer } from './fixtures/sequence.ts'
import { sequences } from './fixtures/sequences.ts'

/*
  The same sequences on a service with one rule broken: the comparison with the model must notice, and soon.
*/
const LANES = 4
const MAX_RUNS = 800
const SEED = Number(process.env.MODEL_SEED || 1)

const RULES: Record<string, Change> = {
  'a failure after a success cancels the order': [
    ['elseif not is_pending(order) then', "elseif order.order_status == 'cancelled' then"],
    [
      "give_back(keys, items, order.customer, 'pending')\n  order.payment_status",
      "give_back(keys, items, order.customer, order.payment_status == 'paid' and 'sold' or 'pending')\n  order.payment_status",
    ],
  ],
  'a payment that comes again counts again': [['if seen then', 'if false then']],
  'a late success is applied though no unit is free': [
    ['elseif not take_again(keys, order, items, now) then', 'elseif false then'],
  ],
  'a success for an order that was cancelled on request is applied': [
    ["elseif order.cancel_reason == 'requested' then", 'elseif false then'],
  ],
  'the amount is not compared': [['differs(payment.amount, order.amount)', 'false']],
  'the currency is not compared': [['differs(payment.currency, order.currency)', 'false']],
  'a failed payment keeps its units': [
    [
      "give_back(keys, items, order.customer, 'pending')\n  order.payment_status",
      "move_items(keys, items, 'pending', 'sold')\n  order.payment_status",
    ],
  ],
  'parked payments are forgotten when their order comes': [
    [
      'request.order, request.payments = order, parked_payments(own.parked_payments)',
      'request.order, request.payments = order, {}',
    ],
  ],
  'parked payments are applied in another order than they came': [
    ['tonumber(a.seq) < tonumber(b.seq)', 'tonumber(a.seq) > tonumber(b.seq)'],
  ],
  'a hold that was paid for expires': [['if pays and hold.key == keys.holds then', 'if false then']],
  'a parked success is ignored when its hold is released': [
    [
      "records[i] = payment_record(id, payment, 'refund_due', 'parked', reason)",
      "records[i] = payment_record(id, payment, 'ignored', 'parked', reason)",
    ],
  ],
  'an order that is due is not told from others': [
    ['and now >= pay_by_ms then', 'then'],
    ["local due_before = '(' .. int(clock_ms() + 1)", "local due_before = '+inf'"],
  ],
  'a payment that is not applied is not journalled': [
    [
      "return redis.call('XADD', keys.journal, '*', 'order', '', 'payments', payments_json, 'basis', text), text, payments_json",
      "return '', text, payments_json",
    ],
  ],
}

t.setTimeout(0)
const database = await createDatabase(t)
for (const [rule, change] of Object.entries(RULES)) {
  t.test(`control: it is noticed when ${rule}`, async (t) => {
    const service = await openClockedService(t, {
      ...{ shards: LANES, hold_s: TTL_S.hold, order_s: TTL_S.order },
      ...{ change, database },
    })
    const play = createPlayer(service, new Map())
    let [played, found] = [0, false]
    const lanes = Array.from({ length: LANES }, (_, lane) => {
      const property = fc.asyncProperty(sequences, async ([start, steps]) => {
        if (found) return
        played += 1
        await play(lane, start, steps)
      })
      const options = { seed: SEED + lane, numRuns: MAX_RUNS / LANES, endOnFailure: true }
      return fc.check(property, options).then(({ failed }) => {
        found ||= failed
      })
    })
    await Promise.all(lanes)
    t.ok(found, `after ${played} sequences`)
  })
}
