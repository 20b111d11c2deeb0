import t from 'tap'
import { loadScript, runScript } from '../../src/engine/scripts.ts'
import { EPOCH, openFixture, unchanged } from '../fixtures/redis.ts'
import { openRedisServer } from '../fixtures/redis-server.ts'

const FENCED = { code: 'recovering' }

t.test(
  'an epoch is raised where the shard has an earlier one or none, and shuts out the earlier one',
  async (t) => {
    const f = await openFixture(t)
    const epoch_key = f.keys.shard(0, 'epoch')
    await f.load(1, 10)
    const later = f.open({ epoch: EPOCH + 1 })
    await later.raiseEpoch(0)
    t.equal(await f.redis.get(epoch_key), String(EPOCH + 1))
    await unchanged(t, f, () => t.rejects(f.place(1), FENCED))
    t.match(await f.place(1, { engine: later }), { status: 'placed' })
    await f.redis.del(epoch_key)
    await f.open({ epoch: EPOCH + 9 }).raiseEpoch(0)
    t.equal(await f.redis.get(epoch_key), String(EPOCH + 9), 'and by more than one')
    await f.equation('at the end')
  },
)

t.test('an epoch that the shard has already, or has left behind, is not raised', async (t) => {
  const f = await openFixture(t)
  // As texts 9 would come after 10.
  await f.open({ epoch: 10 }).raiseEpoch(0)
  for (const epoch of [EPOCH, 9, 10]) {
    const engine = f.open({ epoch })
    await unchanged(t, f, () => t.rejects(engine.raiseEpoch(0), FENCED))
    t.notOk(engine.fence.isOpen(0), 'the fence of this process closes')
  }
  await f.open({ epoch: 11 }).raiseEpoch(0)
})

t.test('control: without the comparison an epoch that was left behind comes back', async (t) => {
  const f = await openFixture(t)
  await f.open({ epoch: 10 }).raiseEpoch(0)
  await f.open({ epoch: 9, change: [['>= number_of(epoch)', '< 0']] }).raiseEpoch(0)
  t.equal(await f.redis.get(f.keys.shard(0, 'epoch')), '9')
})

t.test(
  'a shard of another installation is not raised, and something that is no number is none',
  async (t) => {
    const f = await openFixture(t)
    const epoch_key = f.keys.shard(0, 'epoch')
    const raise = (epoch: string) => runScript(f.redis, loadScript('raise-epoch'), [epoch_key], [epoch])
    await f.redis.set(epoch_key, '10@elsewhere')
    for (const epoch of ['10@elsewhere', '11@here', '11']) {
      t.same(await unchanged(t, f, () => raise(epoch)), ['fenced'], epoch)
    }
    t.same(await raise('11@elsewhere'), ['raised'])
    t.equal(await f.redis.get(epoch_key), '11@elsewhere', 'it is written as it was given')
    await f.redis.set(epoch_key, '11')
    t.same(await raise('12@here'), ['raised'], 'one that names nobody is of version 0.1')
    await f.redis.set(epoch_key, 'text')
    await f.open({ epoch: 1 }).raiseEpoch(0)
    t.equal(await f.redis.get(epoch_key), '1')
  },
)

t.test('of many who raise a shard to the same epoch at once one does', async (t) => {
  const f = await openFixture(t)
  const racers = Array.from({ length: 20 }, () => f.open({ epoch: EPOCH + 1, own_connection: true }))
  const raised = await Promise.allSettled(racers.map((engine) => engine.raiseEpoch(0)))
  t.equal(raised.filter(({ status }) => status === 'fulfilled').length, 1)
})

t.test('an epoch is raised in a full Redis', async (t) => {
  const server = await openRedisServer(t)
  const f = await openFixture(t, { url: server.url })
  await f.load(1, 10)
  await f.redis.config('SET', 'maxmemory', '1')
  const later = f.open({ epoch: EPOCH + 1 })
  await later.raiseEpoch(0)
  await t.rejects(f.place(1, { engine: later }), { code: 'unavailable' }, 'control: it is full')
})
