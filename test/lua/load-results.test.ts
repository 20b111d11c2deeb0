import t from 'tap'
import { EPOCH, idem, openFixture } from '../fixtures/redis.ts'
import { openRedisServer } from '../fixtures/redis-server.ts'

/** A single server: a fixture does not know in which one of a cluster it would have to look for keys. */
const server = await openRedisServer(t)

const FROM = 0
const TO = 1
/** A product of shard 0. */
const MOVED = 2
const MAX_STEP = 500 // results in one call

t.test('results are not brought to a shard with another epoch, nor to one without', async (t) => {
  const f = await openFixture(t, { shards: 2, url: server.url })
  await f.load(MOVED, 10)
  await f.engine.adjustStock(MOVED, 1, 'k', null)
  const before = await f.dump()
  const copy = (epoch: number) => f.open({ epoch }).copyResults(FROM, TO, new Set([MOVED]))
  await t.rejects(copy(EPOCH + 1), { code: 'recovering' })
  t.same(await f.dump(), before)
  await f.redis.del(f.keys.shard(TO, 'epoch'))
  await t.rejects(copy(EPOCH), { code: 'recovering' })
  t.equal(Object.keys(await f.dump()).length, Object.keys(before).length - 1, 'nothing came')
})

t.test('control: without the fence they come whatever the epoch is', async (t) => {
  const f = await openFixture(t, { shards: 2, url: server.url })
  await f.load(MOVED, 10)
  await f.engine.adjustStock(MOVED, 1, 'k', null)
  const change = [['if fenced(keys.epoch, epoch) then', 'if false then']] as const
  await f.open({ epoch: EPOCH + 1, change }).copyResults(FROM, TO, new Set([MOVED]))
  t.ok(await f.redis.get(f.keys.idem(TO, `stock:${MOVED}`, 'k')))
})

t.test(
  'results of what moves come to the other shard for as long as they have left, the others stay',
  async (t) => {
    const f = await openFixture(t, { shards: 2, url: server.url })
    await f.load(MOVED, 10)
    await f.load(4, 10)
    const keyed = (key: string) => ({ idem: { ...idem(key), scope: 'holds' } })
    const moved = await f.hold([[MOVED, 1]], keyed('k1'))
    await f.hold([[4, 1]], keyed('k2'))
    await f.engine.adjustStock(MOVED, 1, 'k3', null)
    const before = await f.dump()
    await f.engine.copyResults(FROM, TO, new Set([MOVED]))
    const after = await f.dump()
    const tag = f.keys.shard(TO, 'epoch').slice(f.prefix.length + 1, -':epoch'.length)
    const came = Object.keys(after).filter((key) => !before[key])
    t.same(came.sort(), [`${tag}:idem:holds:k1`, `${tag}:idem:stock:${MOVED}:k3`])
    t.match(after[`${tag}:idem:holds:k1`]?.value, moved.id)
    for (const key of came) {
      const origin = before[key.replace(tag, '{0}')]
      t.equal(after[key]?.value, origin?.value)
      const late_ms = Math.abs((after[key]?.expires_at_ms ?? 0) - (origin?.expires_at_ms ?? 0))
      t.ok(late_ms < 5_000, `${key} ends ${late_ms} ms off`)
    }
  },
)

t.test('more results than one call takes come all the same', async (t) => {
  const f = await openFixture(t, { shards: 2, url: server.url })
  const many = 2 * MAX_STEP + 1
  const name = (shard: number, at: number) => f.keys.idem(shard, `stock:${MOVED}`, String(at))
  await Promise.all(Array.from({ length: many }, (_, at) => f.redis.set(name(FROM, at), `v${at}`, 'EX', 60)))
  await f.engine.copyResults(FROM, TO, new Set([MOVED]))
  const values = await Promise.all(Array.from({ length: many }, (_, at) => f.redis.get(name(TO, at))))
  t.same(
    values,
    values.map((_, at) => `v${at}`),
  )
})
