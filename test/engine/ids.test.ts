import t from 'tap'
import { holdId, idEnd, orderId, parseId, randomPart, shardOfId } from '../../src/engine/ids.ts'
import { openFixture } from '../fixtures/redis.ts'

const ID = 'Az09-_Az09-_Az091a2010dcaea00'.slice(0, 28)

t.test('an id carries 96 random bits, its first end and its shard', async (t) => {
  const f = await openFixture(t, { shards: 18 })
  for (const [product_id, shard] of [
    [18, 0],
    [1, 1],
    [15, 15],
    [16, 16],
    [17, 17],
  ] as const) {
    await f.load(product_id, 1)
    const hold = await f.hold([[product_id, 1]])
    t.match(hold.id, /^[A-Za-z0-9_-]{16}[0-9a-f]{11}[0-9a-f]+$/)
    t.equal(Number.parseInt(hold.id.slice(16, 27), 16), hold.expires_at_ms)
    t.equal(shardOfId(hold.id), shard)
    t.match(await f.engine.readHold(hold.id), { status: 'live', hold: { id: hold.id } })
    t.equal(parseId('hld_', holdId(hold.id)), hold.id)
    t.equal(parseId('ord_', orderId(hold.id)), hold.id, 'the order has the id of its hold')
  }
})

t.test('an id survives extension: it names its first end', async (t) => {
  const f = await openFixture(t, { hold_ttl_ms: 60_000 })
  await f.load(1, 1)
  const hold = await f.hold(1)
  await f.until(hold.created_at_ms + 2)
  const answer = await f.engine.extendHold(hold.id)
  t.match(answer, { status: 'extended', hold: { id: hold.id } })
  t.ok('hold' in answer && answer.hold.expires_at_ms > hold.expires_at_ms)
})

t.test('only a text of the right shape is an id', async (t) => {
  t.equal(parseId('hld_', `hld_${ID}`), ID)
  for (const text of [
    '',
    'hld_',
    ID,
    `ord_${ID}`,
    `HLD_${ID}`,
    `hld_${ID.slice(1)}`,
    `hld_${ID}\n`,
    ` hld_${ID}`,
    `hld_${ID.slice(0, 27)}`,
    `hld_${ID.slice(0, 27)}00`,
    `hld_${ID.slice(0, 27)}01`,
    `hld_${ID.slice(0, 27)}1000`,
    `hld_${ID.slice(0, 27)}g`,
    `hld_${ID.slice(0, 27)}F`,
    `hld_${ID.slice(0, 16)}1A2010DCAEA0`,
    `hld_{0}${ID.slice(3)}`,
    `hld_${ID.slice(0, 15)}|${ID.slice(16)}`,
    `hld_${'A'.repeat(1000)}`,
    'hld___proto__',
  ]) {
    t.equal(parseId('hld_', text), undefined, JSON.stringify(text))
  }
})

t.test('a shard is written so that it is read back, up to the 4096th', async (t) => {
  for (const shard of [0, 1, 9, 10, 15, 16, 255, 256, 4095]) {
    const id = ID.slice(0, 27) + idEnd(shard, '')
    t.equal(shardOfId(id), shard)
    t.equal(parseId('ord_', orderId(id)), id)
  }
  t.equal(parseId('ord_', orderId(ID.slice(0, 27) + idEnd(4096, ''))), undefined)
})

t.test('random parts do not repeat, are in no order, and use all their bits', async (t) => {
  const parts = Array.from({ length: 20_000 }, randomPart)
  t.ok(parts.every((part) => /^[A-Za-z0-9_-]{16}$/.test(part)))
  t.equal(new Set(parts).size, parts.length)
  const rising = parts.filter((part, at) => at > 0 && part > (parts[at - 1] ?? '')).length
  t.ok(Math.abs(rising / parts.length - 0.5) < 0.03, 'the next is larger as often as smaller')
  for (let at = 0; at < 16; at += 1) {
    const letters = new Set(parts.map((part) => part[at]))
    t.equal(letters.size, 64, `every letter comes at place ${at}`)
  }
})
