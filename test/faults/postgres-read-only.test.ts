import pg from 'pg'
import t from 'tap'
import { build, newKey } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { openFaultyProxy } from './fixtures/faulty-proxy.ts'
import { openOwnPostgres } from './fixtures/own-postgres.ts'
import { openOwnRedis } from './fixtures/own-redis.ts'
import { ANSWERED_WITHIN_MS, checkSale, createClient, newLedger, newPrefix } from './fixtures/sale.ts'

const BACK_WITHIN_MS = 2_000

t.test('a PostgreSQL that takes no writes for a while is used again when it does', async (t) => {
  const server = await openOwnRedis(t)
  const postgres = await openOwnPostgres(t)
  const standby_url = await postgres.openStandby()
  const { database } = postgres
  const { query } = database
  const proxy = await openFaultyProxy(t, database.url)
  const app = await build(t, {
    sweeper: true,
    beside: { prefix: newPrefix(), database, redis: server.redis },
    redis_url: server.url,
    database_url: proxy.url,
  })
  await until('it has warmed up', async () => (await app.call('GET', '/api/products')).status === 200)
  const faults = [
    {
      what: 'by a setting that living sessions follow',
      is_for_ever: false,
      async begin() {
        await query('alter system set default_transaction_read_only = on')
        await query('select pg_reload_conf()')
      },
      async end() {
        await query('alter system reset default_transaction_read_only')
        await query('select pg_reload_conf()')
      },
    },
    {
      what: 'by a setting of the database',
      is_for_ever: true,
      async begin() {
        await query('alter database holdfast set default_transaction_read_only = on')
        proxy.cut()
      },
      end: () => query('alter database holdfast reset default_transaction_read_only'),
    },
    {
      what: 'because a standby answers in its place',
      is_for_ever: true,
      async begin() {
        await proxy.retarget(standby_url, { living: false })
        proxy.cut()
      },
      end: () => proxy.retarget(database.url, { living: false }),
    },
  ]
  for (const { what, is_for_ever, begin, end } of faults) {
    await t.test(what, async (t) => {
      const product = await app.product(100)
      const ledger = newLedger()
      const client = createClient(app, ledger)
      const pending = await client.ordered(product)
      const hold = await client.held(product)
      const readiness = () => app.call('GET', '/readyz')
      await begin()
      await until('it says why it is not ready', async () => {
        const { status, text } = await readiness()
        return (
          status === 503 && text.includes('"checks":{"redis":"ok","postgresql":"is read-only","fence":"ok"}')
        )
      })
      const kept = new pg.Client({ connectionString: proxy.url })
      await kept.connect()
      t.teardown(() => kept.end())
      const write = () => kept.query('update products set paused = paused')
      await t.resolves(kept.query('select 1'), 'control: who only reads sees nothing of it')
      await t.rejects(write(), { code: '25006' })

      const key = newKey()
      const replies = await Promise.all([
        app.call('POST', '/api/orders', { hold_id: hold.hold_id }, { headers: { 'idempotency-key': key } }),
        app.call('DELETE', `/api/orders/${pending.order_id}`),
      ])
      for (const { status, headers, took_ms } of replies) {
        t.equal(status, 503)
        t.match(headers['retry-after'], /^\d+$/)
        t.ok(took_ms < ANSWERED_WITHIN_MS, `after ${Math.round(took_ms)} ms`)
      }
      if (is_for_ever) t.equal((await app.call('GET', '/api/orders')).status, 503, 'nothing is read there')
      t.ok(await client.hold(product), 'holds go on')
      t.equal((await readiness()).status, 503, 'it stays so')

      await end()
      await until('it is ready', async () => (await readiness()).status === 200, BACK_WITHIN_MS)
      t.equal((await client.order(hold, key))?.order_id, hold.order_id, 'the retry gets its order')
      if (is_for_ever) await t.rejects(write(), { code: '25006' }, 'control: a connection that is kept')
      await until('the journal is finished', async () => (await app.journal()) === 0)
      await checkSale(t, app, ledger)
    })
  }
})
