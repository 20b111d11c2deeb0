import { EventEmitter } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Engine } from '../../src/engine/engine.ts'
import { UnavailableError } from '../../src/errors.ts'
import { createStockStream, FORMATS, type Listener, readFollowed } from '../../src/http/stock-stream.ts'
import { build } from '../fixtures/app.ts'
import { times, until } from '../fixtures/until.ts'

/*
  The stream by itself, on the engine of a real service. The listeners stand for connections, whose buffers in the system no test
  can fill at a few events a second.
*/
const app = await build(t, { env: { STOCK_SHARDS: '2' } })
const TICK_MS = 125

/** A connection. `takes` says whether it takes what is sent; `sent` grows with it. */
function openListener() {
  const emitter = new EventEmitter()
  const sent: string[] = []
  const listener = Object.assign(emitter, {
    sent,
    takes: true,
    destroyed: false,
    writableLength: 0,
    writeHead: () => listener,
    write(text: string) {
      if (listener.destroyed) throw new Error('written after its end')
      sent.push(text)
      if (!listener.takes) listener.writableLength += text.length
      return true
    },
    end: () => listener.destroy(),
    destroy() {
      listener.destroyed = true
      queueMicrotask(() => emitter.emit('close'))
      return listener
    },
  })
  return listener
}

/** The stream on an engine that counts its reads. */
function openStream(t: Test, limits: Parameters<typeof createStockStream>[1] = {}) {
  const reads: Array<{ shard: number; ids: number[] }> = []
  /** Shards that can not be read. */
  const away = new Set<number>()
  /** Shards that answer nothing. */
  const silent = new Set<number>()
  const engine: Engine = {
    ...app.engine,
    readStock(shard, ids) {
      reads.push({ shard, ids })
      if (away.has(shard)) return Promise.reject(new UnavailableError('unavailable', 'away'))
      if (silent.has(shard)) return new Promise(() => {})
      return app.engine.readStock(shard, ids)
    },
  }
  const stream = createStockStream(engine, limits)
  t.teardown(() => stream.close())
  return {
    stream,
    reads,
    away,
    silent,
    async join(ids: number[], format = FORMATS.one, client = 'somebody') {
      const listener = openListener()
      const products = await readFollowed(app.engine, ids)
      stream.listen(listener as unknown as Listener, products, format, client)
      return listener
    },
  }
}

/** Changes a product's stock until told to stop. */
function keepChanging(id: number) {
  const going = { on: true }
  const done = (async () => {
    while (going.on) {
      const hold = await app.hold(id)
      await app.call('DELETE', `/api/holds/${hold.hold_id}`)
      await app.hold(id)
    }
  })()
  return async () => {
    going.on = false
    await done
  }
}

t.test('Redis is read once a shard and tick, however many listen to however many products', async (t) => {
  const ids: number[] = []
  for (let at = 0; at < 20; at += 1) ids.push(await app.product(100, { shard: at % 2 }))
  const { reads, join } = openStream(t)
  const listeners = await times(300, (at) => join([ids[at % 20] as number]))
  reads.length = 0
  const ticks = 8
  const started_ms = performance.now()
  await until('some ticks', () => reads.length >= 2 * ticks)
  const most = Math.ceil((performance.now() - started_ms) / TICK_MS) + 1
  t.ok(reads.length <= 2 * most, `${reads.length} reads of two shards in ${most} ticks at most`)
  for (const { shard, ids: read } of reads.slice(0, 2 * ticks)) {
    t.same(
      read.toSorted((one, other) => one - other),
      ids.filter((_, at) => at % 2 === shard),
      'each reads all that is followed',
    )
  }
  t.ok(listeners.every(({ sent }) => sent.length === 1))
})

t.test('a product that changes all the time makes four events a second, and the last is right', async (t) => {
  const id = await app.product(100_000)
  const { join } = openStream(t)
  const listener = await join([id])
  const stop = keepChanging(id)
  const started_ms = performance.now()
  await wait(2_500)
  const events = listener.sent.length - 1
  const seconds = (performance.now() - started_ms) / 1000
  await stop()
  t.ok(events <= 4 * seconds + 1, `${events} events in ${seconds.toFixed(1)} s`)
  t.ok(events >= 4, 'and no fewer than a busy machine may make')
  const { available } = await app.stock(id)
  await until('the last', () => listener.sent.at(-1)?.includes(`"available":${available},`))
})

t.test(
  'who does not take what is sent misses events, is told the latest once he does, and is dropped at last',
  async (t) => {
    const id = await app.product(1_000)
    const { join } = openStream(t, { max_behind_ms: 600 })
    const [good, slow, stuck] = [await join([id]), await join([id]), await join([id])]
    const others = [slow, stuck]
    for (const one of others) Object.assign(one, { takes: false, writableLength: 100 })
    await app.hold(id)
    await until('the first event', () => good.sent.length === 2)
    await app.hold(id)
    await until('the second event', () => good.sent.length === 3)
    t.ok(
      others.every(({ sent }) => sent.length === 1),
      'nothing is heaped up for them',
    )
    Object.assign(slow, { takes: true, writableLength: 0 })
    await until('what the slow one has missed', () => slow.sent.length === 2)
    t.match(slow.sent[1], /"held":2,/, 'only the latest')
    await until('the end of the stuck one', () => stuck.destroyed)
    t.equal(stuck.sent.length, 1)
    await app.hold(id)
    await until('the others to go on', () => good.sent.length >= 4 && slow.sent.length >= 3)
    t.same([good.destroyed, slow.destroyed], [false, false])
  },
)

t.test('listeners hear that the stream lives while nothing changes', async (t) => {
  const { join } = openStream(t, { heartbeat_ms: 200 })
  const listener = await join([await app.product(1)])
  await until('two beats', () => listener.sent.length >= 3)
  t.same(new Set(listener.sent.slice(1)), new Set([': still here\n\n']))
})

t.test(
  'there is room for so many listeners, products and follows, and again when some have gone',
  async (t) => {
    const ids = [await app.product(1), await app.product(1), await app.product(1)]
    const [first = 0, second = 0, third = 0] = ids
    const { stream, join } = openStream(t, { max: { listeners: 4, products: 2, follows: 5 } })
    const roomFor = (product_ids: number[]) => stream.roomFor('another', product_ids)
    await join([first], FORMATS.one, 'a')
    t.equal(roomFor([second]), 'room')
    const last = await join([second], FORMATS.one, 'b')
    t.equal(roomFor([third]), 'full', 'a third product')
    t.equal(roomFor([first]), 'room', 'another listener')
    await join([first], FORMATS.one, 'c')
    await join([first], FORMATS.one, 'd')
    t.equal(roomFor([first]), 'full', 'a fifth listener')
    last.destroy()
    await until('room', () => roomFor([third]) === 'room')
    await join([first], FORMATS.one, 'e')
    t.equal(roomFor([first]), 'full')
  },
)

t.test('one client does not take all the room, whatever it follows', async (t) => {
  const ids: number[] = []
  for (let at = 0; at < 12; at += 1) ids.push(await app.product(1))
  const open = { listeners: 1_000, products: 1_000, follows: 1_000 }
  const [one = 0, two = 0] = ids
  for (const [what, max, joined] of [
    ['listeners', { ...open, listeners: 20 }, (_at: number) => [one]],
    ['products', { ...open, products: 20 }, (at: number) => [ids[at] as number]],
    ['follows', { ...open, follows: 40 }, (_at: number) => [one, two]],
  ] as const) {
    const { stream, join } = openStream(t, { max })
    let joins = 0
    for (; stream.roomFor('greedy', joined(joins)) === 'room'; joins += 1) {
      await join(joined(joins), FORMATS.many, 'greedy')
    }
    t.equal(joins, 10, `${what}: half of all that there is, while nobody else wants it`)
    t.equal(stream.roomFor('greedy', joined(joins)), 'client_full', what)
    const others = ['a', 'b', 'c', 'd', 'e']
    for (const client of others) {
      t.equal(stream.roomFor(client, joined(joins)), 'room', `${what}: somebody else`)
      await join(joined(joins), FORMATS.many, client)
    }
  }
})

t.test('what changed in one step is told in one write', async (t) => {
  const ids: number[] = []
  for (let at = 0; at < 10; at += 1) ids.push(await app.product(10))
  const { join } = openStream(t)
  const listener = await join(ids, FORMATS.many)
  const items = ids.map((product_id) => ({ product_id, qty: 1 }))
  t.equal((await app.call('POST', '/api/holds', { items })).status, 201)
  await until('an event', () => listener.sent.length > 1)
  t.equal(listener.sent[1]?.match(/"held":1,/g)?.length, ids.length)
})

t.test('nobody listens, nothing is read', async (t) => {
  const { reads, join } = openStream(t)
  const listener = await join([await app.product(1)])
  await until('a read', () => reads.length > 0)
  listener.destroy()
  await wait(3 * TICK_MS)
  const { length } = reads
  await wait(3 * TICK_MS)
  t.equal(reads.length, length)
})

t.test('a shard that can not be read leaves out its own products, and only as long as that', async (t) => {
  const [here, there] = [await app.product(10, { shard: 0 }), await app.product(10, { shard: 1 })]
  const { away, reads, join } = openStream(t)
  const listener = await join([here, there], FORMATS.many)
  const toldOf = (id: number) => listener.sent.slice(1).filter((text) => text.includes(`"product_id":${id},`))
  away.add(1)
  await app.hold(there)
  await app.hold(here)
  await until('the change of the one', () => toldOf(here).length === 1)
  const { length } = reads
  await until('more ticks', () => reads.length >= length + 4)
  t.same(toldOf(there), [])
  away.clear()
  await until('the change of the other', () => toldOf(there).length === 1)
  t.match(toldOf(there)[0], /"held":1,/)
})

t.test(
  'a shard that does not answer is asked once, and changes of another are told all the same',
  async (t) => {
    const [mute, live] = [await app.product(10, { shard: 0 }), await app.product(10, { shard: 1 })]
    const { silent, reads, join } = openStream(t)
    const listener = await join([mute, live], FORMATS.many)
    silent.add(0)
    await until('an unanswered read', () => reads.some(({ shard }) => shard === 0))
    reads.length = 0
    for (let changes = 1; changes <= 3; changes += 1) {
      await app.hold(live)
      await until('the next event', () => listener.sent.at(-1)?.includes(`"held":${changes},`))
    }
    t.same(new Set(reads.map(({ shard }) => shard)), new Set([1]))
  },
)
