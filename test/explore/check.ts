import { verifyShard } from '../../src/recovery/verify.ts'
import { conservation } from '../fixtures/conservation.ts'
import type { Ledger, Told } from './buyers.ts'
import type { World } from './world.ts'

type Product = { id: number; total: number; unit_amount: number }

/** What is wrong with a product that began with so many units at such a price. */
function productFaults(
  { id, total, unit_amount }: Product,
  { told, maybe }: Ledger,
  began: { units: number; price: number },
): string[] {
  const of = <What extends Told['what']>(list: Told[], what: What) =>
    list.filter((one): one is Extract<Told, { what: What }> => one.what === what && 'product_id' in one && one.product_id === id)
  const sums = of(told, 'stock').reduce((sum, { delta }) => sum + delta, began.units)
  const unsure = [...new Set(of(maybe, 'stock'))].filter((one) => !told.includes(one))
  const totals = unsure.reduce((known, { delta }) => [...known, ...known.map((sum) => sum + delta)], [sums])
  const last = of(told, 'price').at(-1)?.unit_amount ?? began.price
  const prices = [last, ...of(maybe, 'price').map((one) => one.unit_amount)]
  return [
    ...(totals.includes(total) ? [] : [`product ${id} has ${total} units, and should have ${totals.join(' or ')}`]),
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
  type Row = { id: string; payment_status: string; order_status: string }
  const orders = new Map(
    (await query<Row>('select id, payment_status, order_status from orders')).map((row) => [row.id, row]),
  )
  type Payment = { idempotency_key: string; status: string; outcome: string; order_id: string }
  const payments = new Map(
    (await query<Payment>('select idempotency_key, status, outcome, order_id from payments')).map((row) => [
      row.idempotency_key,
      row,
    ]),
  )
  for (const product of await query<Product>('select id::int, total::int, unit_amount::int from products'))
    found.push(...productFaults(product, ledger, began))
  for (const one of told) {
    if (one.what === 'stock' || one.what === 'price') continue
    const order = orders.get(one.order_id)
    if (one.what === 'refused') {
      if (one.status === 409)
        found.push(`${one.order_id}: the order of a live hold was refused: ${one.status} ${one.code}`)
      continue
    }
    if (!order && one.what !== 'payment')
      found.push(`${one.order_id}: the order that was acknowledged is not there`)
    if (one.what === 'cancelled' && order?.order_status !== 'cancelled')
      found.push(`${one.order_id}: its cancellation was acknowledged, and it is ${order?.order_status}`)
    if (one.what !== 'payment') continue
    const payment = payments.get(one.key)
    if (!payment)
      found.push(`${one.order_id}: payment ${one.key} was acknowledged as ${one.outcome}, and is not there`)
    else if (one.outcome !== 'parked' && one.outcome !== 'duplicate' && payment.outcome !== one.outcome)
      found.push(`${one.order_id}: payment ${one.key} was ${one.outcome}, and is ${payment.outcome}`)
    if (one.outcome === 'applied' && one.status === 'success' && order?.payment_status !== 'paid')
      found.push(`${one.order_id}: was paid, and is ${order?.payment_status}`)
  }
  for (const { idempotency_key, order_id, outcome } of payments.values()) {
    if (outcome === 'parked') found.push(`${order_id}: payment ${idempotency_key} is parked still`)
  }
  return found
}
