import t, { type Test } from 'tap'
import type { Engine } from '../../src/engine/engine.ts'
import { createLookup } from '../../src/recovery/load.ts'
import { build } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { isWhole } from './fixtures/mover.ts'

/*
  A process asks PostgreSQL for an order, and stands still; the order is paid, and its shard rebuilt; then the process loads what
  it has read.
*/

const TTLS = { HOLD_TTL_SECONDS: '60', ORDER_TTL_SECONDS: '60' }

/** @param of_engine what the late process has for an engine */
async function loadLate(t: Test, of_engine: (engine: Engine) => Engine) {
  const app = await build(t, { env: TTLS })
  const rebuild = async () => {
    await app.redis.unlink(app.engine.keys.shard(0, 'epoch'))
    await isWhole(app)
  }
  const id = await app.product(10)
  const { order_id } = await app.order(await app.hold(id, 2))
  await app.paid(order_id, 'failed')
  await rebuild()

  const { db } = app.service
  let goOn = () => {}
  const halted = new Promise<void>((resolve) => {
    goOn = resolve
  })
  let questions = 0
  const use: typeof db.use = async (work) => {
    const answer = await db.use(work)
    questions += 1
    if (questions === 2) await halted
    return answer
  }
  const lookup = createLookup({ db: { ...db, use }, engine: of_engine(app.engine) })
  const loading = lookup.loadOrder(order_id.slice('ord_'.length)).catch((error: Error) => error)
  await until('it to stand still', () => questions === 2)
  t.match(await app.paid(order_id, 'success'), { outcome: 'applied' })
  await rebuild()
  goOn()
  return { app, order_id, loaded: await loading }
}

t.test('an order that was read before a rebuild is not loaded behind it', async (t) => {
  const { app, order_id, loaded } = await loadLate(t, (engine) => engine)
  t.match(loaded, { name: 'UnavailableError', code: 'recovering' })
  t.match(await app.readOrder(order_id), { payment_status: 'paid', order_status: 'confirmed' })
})

t.test('control: without its epoch it is, and a payment that was acknowledged is not seen', async (t) => {
  const { app, order_id, loaded } = await loadLate(t, (engine) => ({
    ...engine,
    loadOrder: (shard, order, payments) => engine.loadOrder(shard, order, payments),
  }))
  t.equal(loaded, true)
  t.match(await app.readOrder(order_id), { order_status: 'cancelled' })
})
