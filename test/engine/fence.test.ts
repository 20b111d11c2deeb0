import t from 'tap'
import { createFence } from '../../src/engine/fence.ts'
import { openFixture, unchanged } from '../fixtures/redis.ts'

t.test('a shard is closed until it is opened, and says why', async (t) => {
  const closed: unknown[] = []
  const fence = createFence((...heard) => closed.push(heard))
  t.notOk(fence.isOpen(0))
  t.throws(() => fence.epoch(0), {
    name: 'UnavailableError',
    code: 'recovering',
    message: 'shard 0 is closed: not opened yet',
  })
  fence.close(0, 'never opened', 'state')
  t.same(closed, [], 'what is closed cannot be closed')
  fence.open(0, 7)
  t.ok(fence.isOpen(0))
  t.equal(fence.epoch(0), 7)
  t.notOk(fence.isOpen(1), 'each shard for itself')
  fence.close(0, 'Redis has another run_id', 'connection')
  fence.close(0, 'said again', 'wrong')
  t.same(closed, [[0, 'Redis has another run_id', 'connection']], 'the first reason is heard, once')
  t.throws(() => fence.epoch(0), { message: 'shard 0 is closed: Redis has another run_id' })
  t.equal(fence.whyClosed(0)?.reason, 'Redis has another run_id')
  fence.open(0, 8)
  t.equal(fence.epoch(0), 8)
  t.equal(fence.whyClosed(0), undefined)
})

t.test(
  'when Redis has another epoch the shard is closed for this process, and the others go on',
  async (t) => {
    const f = await openFixture(t, { shards: 2 })
    await f.load(1, 10)
    await f.load(2, 10)
    await f.redis.set(f.keys.shard(1, 'epoch'), 2)
    const answers = await Promise.allSettled(
      Array.from({ length: 20 }, () => [f.place(1), f.engine.readProduct(1)]).flat(),
    )
    t.ok(answers.every((answer) => answer.status === 'rejected' && answer.reason.code === 'recovering'))
    t.same(f.closed, ['1: Redis has another epoch or none'], 'the reason is told once')
    t.match(await f.place([[2, 1]]), { status: 'placed' })
    t.same(f.alarms, [], 'it is no alarm')
    f.engine.fence.open(1, 2)
    t.match(await f.place(1), { status: 'placed' })
    await f.equation('at the end')
  },
)

t.test('a closed shard refuses without asking Redis', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const { id } = await f.hold(1)
  f.engine.fence.close(0, 'testing', 'state')
  const engine = f.engine
  await unchanged(t, f, async () => {
    const steps: Array<() => Promise<unknown>> = [
      () => f.place(1),
      () => engine.readHold(id),
      () => engine.releaseHold(id),
      () => engine.extendHold(id),
      () => engine.createOrder(id, null),
      () => engine.cancelOrder(id),
      () => engine.readOrder(id),
      () => engine.readProduct(1),
      () => engine.adjustStock(1, 1, 'k', null),
      () => engine.expireHolds(0),
    ]
    for (const step of steps) {
      await t.rejects(step(), { code: 'recovering', message: /testing/ })
    }
  })
})

t.test('a process that still believes in the old epoch is refused after the new one begins', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  const old = f.open({ own_connection: true })
  const { id } = await f.hold(1, { engine: old })
  await f.redis.set(f.keys.shard(0, 'epoch'), 2)
  f.engine.fence.open(0, 2)
  const placing = Promise.allSettled(Array.from({ length: 50 }, () => f.place(1, { engine: old })))
  t.match(await f.engine.releaseHold(id), { status: 'released' })
  t.ok((await placing).every(({ status }) => status === 'rejected'))
  t.match(await f.stock(), { available: 10, held: 0 })
  await f.equation('at the end')
})

t.test('an epoch is compared as it is written, so that none is taken for another', async (t) => {
  const f = await openFixture(t)
  await f.load(1, 10)
  for (const text of ['1.0', '01', ' 1', '', '1e0', '-1', '10', '4294967297']) {
    await f.redis.set(f.keys.shard(0, 'epoch'), text)
    await t.rejects(f.place(1, { engine: f.open() }), { code: 'recovering' }, JSON.stringify(text))
  }
})

t.test(
  'a probe closes the shards whose epoch is another or gone, and asks for nothing where all is well',
  async (t) => {
    const f = await openFixture(t, { shards: 3 })
    await f.engine.probe()
    t.same(f.closed, [])
    await f.redis.set(f.keys.shard(1, 'epoch'), 2)
    await f.redis.del(f.keys.shard(2, 'epoch'))
    await f.engine.probe()
    t.same(f.closed.sort(), ['1: Redis has another epoch or none', '2: Redis has another epoch or none'])
    t.same(
      [0, 1, 2].map((shard) => f.engine.fence.isOpen(shard)),
      [true, false, false],
    )
    await f.engine.probe()
    t.equal(f.closed.length, 2, 'what is closed is not asked about')
  },
)
