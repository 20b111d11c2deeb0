import { verifyShard } from '../../src/recovery/verify.ts'
import { conservation } from '../fixtures/conservation.ts'
import type { Ledger, Told } from './buyers.ts'
import type { World } from './world.ts'

/** What is said of a Redis that nobody has tampered with, and that has lost nothing, only by a mistake. */
const BROKEN = /BROKEN|is broken|oversold/
const ENDS_UNPAID = ['payment_timeout', 'payment_failed']

type Order = { id: string; payment_status: string; order_status: string; cancel_reason: string | null }
type Payment = {
  idempotency_key: string
  status: string
  outcome: string
  reason: string | null
  order_id: string
}
type OfOrder = Exclude<Told, { product_id: number }>

/** What of that which was told is not so. */
function toldFaults(one: OfOrder, order: Order | undefined, payments: Payment[], is_lost: boolean): string[] {
  if (one.what === 'refused') return [`the order of a live hold was refused: ${one.status} ${one.code}`]
  if (one.what !== 'payment') {
    if (!order) return ['the order that was acknowledged is not there']
    const is_cancelled = one.what !== 'cancelled' || order.order_status === 'cancelled'
    return is_cancelled ? [] : [`its cancellation was acknowledged, and it is ${order.order_status}`]
  }
  const payment = payments.find(({ idempotency_key }) => idempotency_key === one.key)
  if (!payment) return [`payment ${one.key} was acknowledged as ${one.outcome}, and is not there`]
  const is_final = !['parked', 'duplicate'].includes(one.outcome)
  if (is_final && payment.outcome !== one.outcome)
    return [`payment ${one.key} was ${one.outcome}, and is ${payment.outcome}`]
  if (one.outcome === 'applied' && one.status === 'success' && order?.payment_status !== 'paid')
    return [`was paid, and is ${order?.payment_status}`]
  if (one.outcome === 'parked' && one.status === 'success' && one.is_live && !is_lost && !order)
    return ['its live hold was paid for, and never became an order']
  return []
}

/** What is wrong with what became of a payment, or undefined. Nobody here pays another amount. */
function paymentFault(payment: Payment, order: Order | undefined, all: Payment[]): string | undefined {
  const applied = all.filter(({ status, outcome }) => status === 'success' && outcome === 'applied')
  if (applied.length > 1) return 'is not the only success that was applied'
  if (payment.outcome === 'parked') return 'is parked still'
  if (payment.outcome !== 'refund_due') return undefined
  const reason = String(payment.reason)
  const is_due = {
    already_paid: applied.length === 1,
    order_cancelled: order?.cancel_reason === 'requested',
    no_units_left: ENDS_UNPAID.includes(order?.cancel_reason ?? ''),
    order_never_came: !order,
    hold_released: !order,
  }[reason]
  return is_due ? undefined : `is due for refund (${reason}), and its order is ${JSON.stringify(order)}`
}

type Product = { id: number; total: number; unit_amount: number }

/** What is wrong with a product that began with so many units at such a price. */
function productFaults(
  { id, total, unit_amount }: Product,
  { told, maybe }: Ledger,
  began: { units: number; price: number },
): string[] {
  const of = <What extends Told['what']>(list: Told[], what: What) =>
    list.filter(
      (one): one is Extract<Told, { what: What }> =>
        one.what === what && 'product_id' in one && one.product_id === id,
    )
  // What was told twice was done once.
  const sums = [...new Set(of(told, 'stock'))].reduce((sum, { delta }) => sum + delta, began.units)
  const unsure = [...new Set(of(maybe, 'stock'))].filter((one) => !told.includes(one))
  const totals = unsure.reduce((known, { delta }) => [...known, ...known.map((sum) => sum + delta)], [sums])
  const last = of(told, 'price').at(-1)?.unit_amount ?? began.price
  const prices = [last, ...of(maybe, 'price').map((one) => one.unit_amount)]
  return [
    ...of(told, 'unheard-of').map(({ status, code }) => `product ${id} was denied: ${status} ${code}`),
    ...(totals.includes(total)
      ? []
      : [`product ${id} has ${total} units, and should have ${totals.join(' or ')}`]),
    ...(prices.includes(unit_amount)
      ? []
      : [`product ${id} costs ${unit_amount}, and should cost ${prices.join(' or ')}`]),
  ]
}

/** What must be true once everything has come to rest. Answers what is not, as sentences. */
export async function check(
  world: World,
  ledger: Ledger,
  began: { units: number; price: number },
): Promise<string[]> {
  const { told } = ledger
  const { redis, sql, shards } = world
  const [one] = world.running()
  if (!one) return ['nobody lives']
  const { engine, db } = one.service
  const query = async <Row extends object>(text: string): Promise<Row[]> =>
    (await sql.query(text)).rows as Row[]
  const found = await conservation({ redis, keys: engine.keys, shards, query })
  for (let shard = 0; shard < shards; shard += 1) {
    const report = await verifyShard(engine, db, shard, async () => {})
    if (!report.is_clean)
      found.push(...report.differences, ...report.products.flatMap(({ differences }) => differences))
  }
  if (ledger.losses === 0) found.push(...world.log.filter((line) => BROKEN.test(line)))
  const orders = new Map(
    (await query<Order>('select id, payment_status, order_status, cancel_reason from orders')).map((row) => [
      row.id,
      row,
    ]),
  )
  const payments = await query<Payment>(
    'select idempotency_key, status, outcome, reason, order_id from payments order by created_at',
  )
  for (const product of await query<Product>('select id::int, total::int, unit_amount::int from products'))
    found.push(...productFaults(product, ledger, began))
  for (const one of told) {
    if ('product_id' in one) continue
    const of_it = payments.filter(({ order_id }) => order_id === one.order_id)
    const faults = toldFaults(one, orders.get(one.order_id), of_it, ledger.losses > 0)
    found.push(...faults.map((fault) => `${one.order_id}: ${fault}`))
  }
  for (const payment of payments) {
    const { order_id, idempotency_key } = payment
    const of_it = payments.filter((other) => other.order_id === order_id)
    const fault = paymentFault(payment, orders.get(order_id), of_it)
    if (fault) found.push(`${order_id}: payment ${idempotency_key} ${fault}`)
  }
  return found
}
