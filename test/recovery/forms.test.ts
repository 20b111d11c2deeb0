import t from 'tap'
import { FORM } from '../../src/engine/redis.ts'
import { type App, build } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'

const isOpen = (app: App) =>
  until('an open fence', async () => (await app.call('GET', '/readyz')).status === 200)

/** What PostgreSQL records of shard 0, as a process of a version with another form has left it. */
async function leftBy(app: App, form: number): Promise<void> {
  await app.database.query(
    `update shards set redis_identity = regexp_replace(redis_identity, '^[0-9]+', $1)`,
    [String(form)],
  )
}

async function epochOf(app: App): Promise<number> {
  const [shard] = await app.database.query<{ epoch: number }>('select epoch from shards where shard = 0')
  return Number(shard?.epoch)
}

t.test('a shard in an earlier form is rebuilt by the first process of the new version', async (t) => {
  const app = await build(t)
  const id = await app.product(10)
  const order = await app.order(await app.hold(id, 2))
  const hold = await app.hold(id, 3)
  const epoch = await epochOf(app)
  await build(t, { beside: app })
  t.equal(await epochOf(app), epoch, 'control: one in this form is not')

  await leftBy(app, FORM - 1)
  const next = await build(t, { beside: app })
  t.equal(await epochOf(app), epoch + 1)
  t.match(next.log, [/rebuilding as epoch \d+, because Redis is not what it was/])
  t.match(await next.readOrder(order.order_id), { order_status: 'pre-payment' })
  t.match(await next.order(hold), { order_status: 'pre-payment' })
  t.match(await next.stock(id), { available: 5, held: 0, pending: 5 })
  await next.agree(t, 'afterwards')
})

t.test('a shard in a later form is left alone until it is given back', async (t) => {
  const app = await build(t)
  const id = await app.product(10)
  await app.order(await app.hold(id, 2))
  const epoch = (await epochOf(app)) + 1
  // What a rebuild by the later version begins with.
  await leftBy(app, FORM + 1)
  await app.database.query('update shards set epoch = $1', [epoch])
  await app.redis.set(app.engine.keys.shard(0, 'epoch'), epoch)
  const before = await app.redis.hgetall(app.engine.keys.shard(0, 'products'))

  t.match(await app.call('POST', '/api/holds', { product_id: id, qty: 1 }), { status: 503 })
  const isTold = () =>
    app.log.some((line) => line.includes('has the form of a newer version: start that version'))
  await until('the reason in the log', isTold)
  t.match(await app.call('GET', '/readyz'), { status: 503, body: { code: 'recovering' } })
  await t.rejects(
    build(t, { beside: app }),
    /has the form of a newer version/,
    'nor does a new process start',
  )
  t.equal(await epochOf(app), epoch, 'nothing was rebuilt')
  t.same(await app.redis.hgetall(app.engine.keys.shard(0, 'products')), before)

  await app.database.query(`update shards set redis_identity = ''`)
  await isOpen(app)
  t.equal(await epochOf(app), epoch + 1)
  t.match(await app.stock(id), { available: 8, pending: 2 })
})
