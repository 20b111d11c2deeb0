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
  t.equal(await finishJournal(engine, service.writer, 0, 0), 1)
  t.same(await sql('select id from orders where id = $1', [order_id]), [{ id: order_id }])
})
