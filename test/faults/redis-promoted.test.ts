import t, { type Test } from 'tap'
import { parseEpoch } from '../../src/engine/epochs.ts'
import { until } from '../fixtures/until.ts'
import { buildFaulty } from './fixtures/faulty-app.ts'
import { type OwnRedis, openOwnRedis } from './fixtures/own-redis.ts'
import { checkSale, startSale } from './fixtures/sale.ts'

/** It takes a second or two, on a machine that does little else. */
const OPEN_LIMIT_MS = 30_000

async function follow(replica: OwnRedis, master: OwnRedis): Promise<void> {
  await replica.redis.replicaof('127.0.0.1', master.port)
  await until('the replica follows', async () =>
    /master_link_status:up/.test(await replica.redis.info('replication')),
  )
}

/** What Sentinel does, or the endpoint of a managed Redis: it promotes the replica and leads who asks for the name to it. */
async function failOver(t: Test, options: { is_old_alive: boolean }) {
  const { app, server, proxy } = await buildFaulty(t)
  const replica = await openOwnRedis(t)
  const alone = app.engine.fence.epoch(0)
  await follow(replica, server)
  // The first replica gives a master another replication id, which is no promotion and looks like one.
  const isAgain = () => app.engine.fence.isOpen(0) && app.engine.fence.epoch(0) > alone
  await until('it is open again', isAgain)
  const product = await app.product(500)
  const sale = startSale([app], product, { buyers: 3 })
  await sale.sells(10)
  const epoch = app.engine.fence.epoch(0)
  if (!options.is_old_alive) await server.kill()
  await replica.redis.replicaof('NO', 'ONE')
  await proxy.retarget(replica.url, { living: false })
  if (options.is_old_alive) await server.redis.replicaof('127.0.0.1', replica.port)
  const promoted_ms = performance.now()
  const isOpen = () => app.engine.fence.isOpen(0) && app.engine.fence.epoch(0) > epoch
  await until('it is open on the promoted one', isOpen, OPEN_LIMIT_MS)
  const took_ms = Math.round(performance.now() - promoted_ms)
  await sale.sells(10)
  t.pass(`open ${took_ms} ms after the promotion`)
  // What the service says of itself is checked on the Redis that it is led to.
  const sides = { ...app, redis: replica.redis }
  t.ok(
    parseEpoch(await replica.redis.get(app.engine.keys.shard(0, 'epoch'))).epoch > epoch,
    'and there alone',
  )
  return { app: sides, sale, server, replica }
}

t.test('behind a name that leads to the promoted replica the sale goes on from PostgreSQL', async (t) => {
  const { app, sale, server, replica } = await failOver(t, { is_old_alive: false })
  const ledger = await sale.stop()
  await server.start()
  await server.redis.replicaof('127.0.0.1', replica.port)
  await checkSale(t, app, ledger)
})

t.test('a master that lives on as a replica is left for the one that took over', async (t) => {
  const { app, sale } = await failOver(t, { is_old_alive: true })
  await checkSale(t, app, await sale.stop())
})
