import { readFileSync } from 'node:fs'
import t from 'tap'
import type { Call, Recording } from '../../src/rehearsal/histories/calls.ts'
import { checkHistories } from '../../src/rehearsal/histories/check.ts'

/** A recorded rehearsal of two seconds over three processes, without a fault: `npm run rehearse` with 12 units and 6 buyers. */
const RECORDED = new URL('./fixtures/sale.jsonl', import.meta.url)

function recorded(): Recording {
  const [head, ...calls] = readFileSync(RECORDED, 'utf8').trimEnd().split('\n')
  return { ...JSON.parse(head as string), calls: calls.map((line) => JSON.parse(line) as Call) }
}

/** The answered calls of one kind, by their ends. */
function callsOf({ calls }: Recording, method: string, path: RegExp, status: number): Call[] {
  const found = calls.filter((call) => call.method === method && path.test(call.path))
  return found
    .filter(({ answer }) => answer?.status === status)
    .sort((one, other) => one.ended_ms - other.ended_ms)
}

const stockOf = ({ answer }: Call) => JSON.stringify(answer?.data?.stock ?? '')

t.test('the history of a real sale is explained', async (t) => {
  const recording = recorded()
  const { operations, products, orders, unexplained, undecided } = checkHistories(recording)
  t.same([unexplained, undecided], [[], []])
  t.equal(products, 1)
  t.ok(orders > 20 && operations > 100, `${operations} operations of ${orders} orders`)
})

t.test('a stale read of a product is found', async (t) => {
  const recording = recorded()
  const reads = callsOf(recording, 'GET', /^\/products\/\d+$/, 200)
  const last = reads.at(-1) as Call
  const earlier = reads.find((one) => stockOf(one) !== stockOf(last)) as Call
  last.answer = structuredClone(earlier.answer as NonNullable<Call['answer']>)
  const { unexplained } = checkHistories(recording)
  t.equal(unexplained.length, 1)
  const [head, ...lines] = unexplained[0] as string[]
  t.match(head, /no order of the calls explains what was answered of product \d+/)
  t.match(lines.join('\n'), new RegExp(`GET ${last.path} .+<-`), 'the part names it')
  t.match(lines.at(-1), /comes to: available \d+, held \d+/)
})

t.test('a stale read of an order is found, and told in a few lines', async (t) => {
  const recording = recorded()
  const [cancelled] = callsOf(recording, 'DELETE', /^\/orders\//, 200)
  const reads = callsOf(recording, 'GET', new RegExp(`^${cancelled?.path}$`), 200)
  const data = reads.at(-1)?.answer?.data as Record<string, unknown>
  Object.assign(data, { order_status: 'pre-payment', cancel_reason: null })
  const { unexplained } = checkHistories(recording)
  const lines = unexplained.find(([head]) => head?.includes(`of order ${cancelled?.path.slice(8)}`))
  t.ok(lines, JSON.stringify(unexplained))
  t.match(
    lines?.join('\n'),
    /→ 200 pending cancelled requested[\s\S]+GET \/orders\/.+ → 200 pending pre-payment/,
  )
  t.ok((lines?.length ?? 0) <= 6, `${lines?.join('\n')}`)
})

t.test('an update that was acknowledged and is lost is found', async (t) => {
  const recording = recorded()
  const [like] = callsOf(recording, 'POST', /^\/products\/\d+\/stock$/, 200)
  const call = structuredClone(like as Call)
  recording.calls.push({ ...call, key: 'lost', body: { delta: 5 } })
  const { unexplained } = checkHistories(recording)
  t.equal(unexplained.length, 1)
  t.match(unexplained[0]?.[0], /of product/)
})

t.test('a cancellation that was acknowledged and had no effect is found', async (t) => {
  const recording = recorded()
  const paid = callsOf(recording, 'GET', /^\/orders\//, 200).find(
    ({ answer }) => answer?.data?.payment_status === 'paid',
  ) as Call
  const data = {
    ...paid.answer?.data,
    payment_status: 'pending',
    order_status: 'cancelled',
    cancel_reason: 'requested',
  }
  recording.calls.push({ ...structuredClone(paid), method: 'DELETE', answer: { status: 200, data } })
  const { unexplained } = checkHistories(recording)
  t.ok(unexplained.some(([head]) => head?.includes(`of order ${paid.path.slice(8)}`)))
})

t.test('a grant of units that were granted to somebody else too is found', async (t) => {
  const recording = recorded()
  const grant = callsOf(recording, 'POST', /^\/holds$/, 201).at(5) as Call
  const twin = structuredClone(grant)
  const hold_id = `hld_${'A'.repeat(16)}${String(twin.answer?.data?.hold_id).slice(20)}`
  Object.assign(twin.answer?.data ?? {}, { hold_id, order_id: hold_id.replace('hld_', 'ord_') })
  recording.calls.push({ ...twin, key: 'twin' })
  const { unexplained } = checkHistories(recording)
  t.equal(unexplained.length, 1)
  t.match(unexplained[0]?.[0], /of product/)
})

t.test('a refusal that contradicts what was answered before is found', async (t) => {
  const recording = recorded()
  const order = callsOf(recording, 'POST', /^\/orders$/, 201)[0] as Call
  const refused: Call = { ...order, key: 'other', answer: { status: 404, code: 'hold_not_found' } }
  recording.calls.push({ ...refused, began_ms: order.ended_ms + 1, ended_ms: order.ended_ms + 2 })
  t.ok(checkHistories(recording).unexplained.length > 0)
})

t.test('a loss of Redis undoes what nobody has acknowledged, and nothing else', async (t) => {
  const iso = (ms: number) => new Date(ms).toISOString()
  const hold = { hold_id: 'hld_a', created_at: iso(1_005), expires_at: iso(9_000) }
  const pending = {
    order_id: 'ord_a',
    payment_status: 'pending',
    order_status: 'pre-payment',
    cancel_reason: null,
  }
  const call = (
    at_ms: number,
    method: string,
    path: string,
    answer: Call['answer'],
    more: Partial<Call> = {},
  ) => {
    return { service: 0, method, path, began_ms: at_ms, ended_ms: at_ms + 10, answer, ...more }
  }
  const sale = (ordered: Call['answer']): Recording => ({
    product_id: 1,
    total: 5,
    hold_ttl_ms: 8_000,
    order_ttl_ms: 9_000,
    clock_slack_ms: 10,
    losses: [{ began_ms: 1_200, ended_ms: 1_400 }],
    calls: [
      call(1_000, 'POST', '/holds', { status: 201, data: hold }, { key: 'h', body: { qty: 2 } }),
      call(1_100, 'POST', '/orders', ordered, { key: 'o', body: { hold_id: 'hld_a' } }),
      call(1_120, 'GET', '/orders/ord_a', { status: 200, data: pending }),
      call(1_500, 'GET', '/orders/ord_a', { status: 404, code: 'order_not_found' }),
      call(1_600, 'GET', '/holds/hld_a', { status: 404, code: 'hold_not_found' }),
    ],
  })
  t.same(checkHistories(sale(undefined)).unexplained, [])
  const { unexplained } = checkHistories(sale({ status: 201, data: pending }))
  t.match(unexplained, [[/of order ord_a/]])
  t.same(checkHistories({ ...sale(undefined), losses: [] }).unexplained.length, 1, 'not without the loss')
})
