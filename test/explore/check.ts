import { setTimeout as wait } from 'node:timers/promises'
import { verifyShard } from '../../src/recovery/verify.ts'
import { conservation } from '../fixtures/conservation.ts'
import type { Ledger } from './buyers.ts'
import type { World } from './world.ts'

/** What must be true once everything has come to rest. Answers what is not, as sentences. */
export async function check(world: World, { told }: Ledger): Promise<string[]> {
  const { redis, sql, shards } = world
  const [one] = world.running()
  if (!one) return ['nobody lives']
  const { engine, db } = one.service
  const query = async <Row extends object>(text: string): Promise<Row[]> =>
    (await sql.query(text)).rows as Row[]
  const found = await conservation({ redis, keys: engine.keys, shards, query })
  for (let shard = 0; shard < shards; shard += 1) {
    const report = await verifyShard(engine, db, shard, wait)
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
  for (const one of told) {
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
