import t from 'tap'
import { finishJournal } from '../../src/journal/recovery.ts'
import { openClockedService } from './fixtures/clocked-service.ts'

const service = await openClockedService(t, { shards: 1, hold_s: 100, order_s: 900 })
const { dying, engine, sql } = service

async function newHold(): Promise<{ hold_id: string; order_id: string }> {
  const product_id = await service.product(0, 10, 9900)
  return (await service.post('/api/holds', { product_id, qty: 1 })).body.data
}

t.test('what a dead process left in the journal can be finished in the same second', async (t) => {
  const { hold_id, order_id } = await newHold()
  t.match(await service.post('/api/orders', { hold_id }, dying), { status: 503 })
  t.same(await sql('select id from orders where id = $1', [order_id]), [], 'PostgreSQL does not have it')
  t.equal(await finishJournal(engine, service.writer, 0), 1)
  t.same(await sql('select id from orders where id = $1', [order_id]), [{ id: order_id }])
})

t.test('a hold that had died before its payment came stays dead when Redis is rebuilt', async (t) => {
  const { order_id } = await newHold()
  await service.pass(0, 101)
  const notice = { idempotency_key: `late ${order_id}`, order_id, status: 'success' }
  t.match(await service.post('/api/payments/webhook', notice), { status: 202 })
  await service.rebuild(0)
  await service.sweep(0)
  t.same(await sql('select id from orders where id = $1', [order_id]), [], 'it does not become an order')
  await service.pass(0, 311)
  await service.sweep(0)
  t.match(await sql('select outcome, reason from payments where order_id = $1', [order_id]), [
    { outcome: 'refund_due', reason: 'order_never_came' },
  ])
})

t.test(
  'a hold that was paid for in time becomes its order, though Redis is rebuilt long after its end',
  async (t) => {
    const { order_id } = await newHold()
    const notice = { idempotency_key: `early ${order_id}`, order_id, status: 'success' }
    t.match(await service.post('/api/payments/webhook', notice), { status: 202 })
    await service.pass(0, 1_000)
    await service.rebuild(0)
    await service.sweep(0)
    t.match(await sql('select payment_status from orders where id = $1', [order_id]), [
      { payment_status: 'paid' },
    ])
    t.match(await sql('select outcome from payments where order_id = $1', [order_id]), [
      { outcome: 'applied' },
    ])
  },
)
