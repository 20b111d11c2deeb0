import t from 'tap'
import { type App, build } from '../fixtures/app.ts'
import { arrived, type Notice, type Order, type Payment, SHOWN, settle } from '../fixtures/payment-model.ts'
import type { PaymentBody } from '../fixtures/resources.ts'
import { times } from '../fixtures/until.ts'

const app = await build(t)

const paid = (key: string, status: Notice['status']): Notice => ({
  key,
  status,
  amount: 'right',
  currency: 'right',
})
const PAYMENTS = {
  success: paid('a', 'success'),
  'its duplicate': paid('a', 'success'),
  'failure under another key': paid('b', 'failed'),
  'success under a third': paid('c', 'success'),
}
type Name = keyof typeof PAYMENTS
type Step = 'create' | Name
const NAMES = Object.keys(PAYMENTS) as Name[]

const permutations = <Thing>(things: Thing[]): Thing[][] =>
  things.length < 2
    ? [things]
    : things.flatMap((thing) =>
        permutations(things.filter((other) => other !== thing)).map((rest) => [thing, ...rest]),
      )

/** What becomes of payments that arrive in this order, as the contract's table has it. */
function play(steps: Step[], is_created: boolean) {
  const order: Order = { state: 'pending', version: 1, pay_by: 0 }
  const payments = new Map<string, Payment>()
  for (const step of steps) {
    if (step === 'create' || payments.has(PAYMENTS[step].key)) continue
    const payment = arrived(PAYMENTS[step])
    settle(order, payment, () => true)
    payments.set(payment.key, payment)
  }
  const ends = [...payments.values()].map(({ key, outcome, reason }) => ({ key, outcome, reason }))
  return { state: is_created ? order.state : null, ends: ends.sort((a, b) => (a.key < b.key ? -1 : 1)) }
}

/** Sends the steps for a new hold. Returns what was surprising on the way and how all ended. */
async function send(on: App, steps: Step[]) {
  const product_id = await on.product(5)
  const hold = await on.hold(product_id, 2)
  const surprises: string[] = []
  const answered = new Map<string, string>()
  let is_created = false
  for (const step of steps) {
    if (step === 'create') {
      await on.order(hold)
      is_created = true
      continue
    }
    const { key, status } = PAYMENTS[step]
    const stated = { amount: hold.amount, currency: hold.currency }
    const { outcome, first_outcome }: PaymentBody = await on.paid(
      hold.order_id,
      status,
      stated,
      hold.order_id + key,
    )
    const first = answered.get(key)
    if (first === undefined) answered.set(key, outcome)
    const { ends } = play(steps.slice(0, steps.indexOf(step) + 1), is_created)
    const wanted = first ? 'duplicate' : is_created ? ends.find((end) => end.key === key)?.outcome : 'parked'
    if (outcome !== wanted || first_outcome !== first) surprises.push(`${step}: ${outcome} ${first_outcome}`)
  }
  const { payment_status, order_status, cancel_reason } = await on.readOrder(hold.order_id)
  const rows = await on.sql<{ idempotency_key: string; outcome: string; reason: string | null }>(
    'select idempotency_key, outcome, reason from payments where order_id = $1 order by idempotency_key',
    [hold.order_id],
  )
  const ends = rows.map(({ idempotency_key, ...rest }) => ({
    key: idempotency_key.slice(hold.order_id.length),
    ...rest,
  }))
  const { state: _, ...stock } = await on.stock(product_id)
  return { surprises, shown: [payment_status, order_status, cancel_reason], ends, stock }
}

for (const arrival of permutations(NAMES)) {
  t.test(`${arrival.join(', ')}: the same end, whenever the order is created`, async (t) => {
    const wanted = play(arrival, true)
    const found = await times(NAMES.length + 1, (at) =>
      send(app, arrival.toSpliced(at, 0, 'create' as never)),
    )
    for (const [at, end] of found.entries()) {
      const when = at === 0 ? 'before them all' : `after ${arrival[at - 1]}`
      t.same(
        end,
        {
          surprises: [],
          shown: SHOWN[wanted.state ?? 'pending'],
          ends: wanted.ends,
          stock: { total: 5, available: 3, held: 0, pending: 0, sold: 2 },
        },
        `created ${when}`,
      )
    }
  })
}

t.test('all of them were sold once', async (t) => {
  await app.agree(t, 'after all permutations')
  const [row] = await app.sql<{ orders: number; paid: number }>(
    `select count(*)::int as orders, count(*) filter (where payment_status = 'paid')::int as paid from orders`,
  )
  t.same(row, { orders: 120, paid: 120 })
})
