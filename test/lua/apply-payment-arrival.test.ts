import t from 'tap'
import type { ApplyPayment } from '../../src/engine/payments.ts'
import { type Fixture, notice, openFixture } from '../fixtures/redis.ts'

/*
  The final state does not depend on whether a webhook came before or after the order: every order of arrival of the steps
  below is played, each on a hold of its own, and compared with a model that knows the payments alone.
*/
const PAYMENTS = {
  success: { key: 'a', status: 'success', stated: { amount: 9900, currency: 'USD' } },
  'the success again': { key: 'a', status: 'success', stated: { amount: 9900, currency: 'USD' } },
  failure: { key: 'b', status: 'failed', stated: {} },
  'a second success': { key: 'c', status: 'success', stated: {} },
  'a success with a wrong amount': { key: 'd', status: 'success', stated: { amount: 9901 } },
} as const
type PaymentName = keyof typeof PAYMENTS
type Step = 'create' | PaymentName
const STEPS: Step[] = ['create', ...(Object.keys(PAYMENTS) as PaymentName[])]

const AT_ONCE = 60

const permutations = (steps: Step[]): Step[][] =>
  steps.length < 2
    ? [steps]
    : steps.flatMap((step) =>
        permutations(steps.filter((other) => other !== step)).map((rest) => [step, ...rest]),
      )

/** What the contract's table makes of payments in their order of arrival, while the units stay free. */
function model(steps: Step[]) {
  let state = 'pending'
  const outcomes: Record<string, string> = {}
  for (const step of steps) {
    if (step === 'create') continue
    const { key, status, stated } = PAYMENTS[step]
    if (outcomes[key]) continue
    if ('amount' in stated && stated.amount !== 9900) outcomes[key] = 'refund_due amount_mismatch'
    else if (status === 'success' && state === 'paid') outcomes[key] = 'refund_due already_paid'
    else if (status === 'success') [state, outcomes[key]] = ['paid', 'applied']
    else if (state === 'pending') [state, outcomes[key]] = ['failed', 'applied']
    else outcomes[key] = 'ignored'
  }
  return { state, outcomes }
}

/** Plays the steps on a new hold and says how its order and its payments ended. */
async function play(f: Fixture, steps: Step[]) {
  const { id } = await f.hold(1)
  const first_outcomes: Record<string, string> = {}
  const surprises: string[] = []
  for (const step of steps) {
    if (step === 'create') {
      const answer = await f.engine.createOrder(id, null)
      if (answer.status !== 'created') surprises.push(`create: ${answer.status}`)
      continue
    }
    const { key, status, stated } = PAYMENTS[step]
    const answer: ApplyPayment = await f.engine.applyPayment(
      notice(id, `${id} ${key}`, status, stated),
      false,
    )
    const first = first_outcomes[key]
    if (answer.status === 'duplicate' && answer.first_outcome !== first) {
      surprises.push(`${step}: first outcome ${answer.first_outcome}, not ${first}`)
    } else if ((answer.status === 'duplicate') !== (first !== undefined)) {
      surprises.push(`${step}: ${answer.status}`)
    }
    first_outcomes[key] ??= answer.status
  }
  return { id, surprises, order: await f.engine.readOrder(id) }
}

t.test('the final state does not depend on where among the payments the order is created', async (t) => {
  const f = await openFixture(t)
  const all = permutations(STEPS)
  await f.load(1, all.length)
  const played: Array<Awaited<ReturnType<typeof play>>> = []
  for (let at = 0; at < all.length; at += AT_ONCE) {
    played.push(...(await Promise.all(all.slice(at, at + AT_ONCE).map((steps) => play(f, steps)))))
  }
  const outcomes = await f.outcomes()
  let sold = 0
  const differences = all.flatMap((steps, at) => {
    const { id = '', surprises = [], order } = played[at] ?? {}
    const found = {
      state: order?.payment_status,
      outcomes: Object.fromEntries(
        ['a', 'b', 'c', 'd'].map((key) => {
          const { outcome, reason } = outcomes[`${id} ${key}`] ?? {}
          return [key, [outcome, reason].filter(Boolean).join(' ')]
        }),
      ),
    }
    const wanted = model(steps)
    if (wanted.state === 'paid') sold += 1
    const is_same =
      found.state === wanted.state &&
      Object.entries(found.outcomes).every(([key, outcome]) => wanted.outcomes[key] === outcome)
    return is_same && surprises.length === 0 ? [] : [{ steps, found, wanted, surprises }]
  })
  t.same(differences.slice(0, 3), [], `${all.length} orders of arrival, ${differences.length} of them differ`)
  t.same(await f.stock(), { total: all.length, available: all.length - sold, held: 0, pending: 0, sold })
  t.equal(await f.redis.zcard(f.keys.shard(0, 'parked')), 0, 'nothing stays parked')
  await f.equation('after all of them')
})

t.test('control: parked payments that are applied last come first end differently', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const engine = f.open({
    change: [['tonumber(a.seq) < tonumber(b.seq)', 'tonumber(a.seq) > tonumber(b.seq)']],
  })
  const { id } = await f.hold(1)
  await f.engine.applyPayment(notice(id, 'a', 'success'), false)
  await f.engine.applyPayment(notice(id, 'c', 'success'), false)
  await engine.createOrder(id, null)
  t.match(await f.outcomes(), { a: { outcome: 'refund_due' }, c: { outcome: 'applied' } })
})

t.test(
  'after a failure that frees the units, a success before and after the order both find them',
  async (t) => {
    const f = await openFixture(t)
    await f.load(1, 1, { max_per_customer: 1 })
    for (const is_early of [true, false]) {
      const { id } = await f.hold(1, { customer_id: 'ada' })
      if (!is_early) await f.engine.createOrder(id, null)
      await f.engine.applyPayment(notice(id, `${id} f`, 'failed'), false)
      await f.engine.applyPayment(notice(id, `${id} s`, 'success'), false)
      if (is_early) await f.engine.createOrder(id, null)
      t.match(await f.engine.readOrder(id), { payment_status: 'paid', cancel_reason: null })
      t.match(await f.stock(), { available: 0, sold: is_early ? 1 : 2 })
      await f.equation('after the success')
      await f.engine.adjustStock(1, 1, id, null)
      await f.load(1, 1, { max_per_customer: 2 })
    }
  },
)
