import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { stockStreamRoutes } from '../../src/http/routes/stock-streams.ts'
import { build } from '../fixtures/app.ts'
import { send } from '../fixtures/http.ts'
import type { StockBody } from '../fixtures/resources.ts'
import { times, until } from '../fixtures/until.ts'

const app = await build(t)

/** Follows the stock of a product, or what another path streams. `events` grows as they come. */
async function follow(t: Test, origin: string, what: number | string, headers = {}) {
  const path = typeof what === 'number' ? `/api/products/${what}/stock/stream` : what
  const events: StockBody[] = []
  const stream = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${origin}${path}`, { agent: false, headers }, resolve).on('error', reject)
  })
  const ended = { is: false }
  stream.setEncoding('utf8')
  let text = ''
  stream.on('data', (chunk: string) => {
    text += chunk
    const blocks = text.split('\n\n')
    text = blocks.pop() ?? ''
    for (const block of blocks) {
      const data = /^event: stock\ndata: (.*)$/.exec(block)?.[1]
      if (data !== undefined) events.push(JSON.parse(data) as StockBody)
      else if (!block.startsWith(':')) throw new Error(`not an event: ${block}`)
    }
  })
  stream.on('close', () => {
    ended.is = true
  })
  stream.on('error', () => {})
  t.teardown(() => stream.destroy())
  return { events, stream, ended }
}

t.test('the stock comes at once, and again with every change', async (t) => {
  const id = await app.product(10)
  const { events, stream } = await follow(t, app.origin, id)
  t.match(stream.headers, { 'content-type': /^text\/event-stream/, 'cache-control': 'no-store' })
  t.ok(stream.headers['x-request-id'])
  await until('the first event', () => events.length === 1)
  t.same(events, [{ total: 10, available: 10, held: 0, pending: 0, sold: 0, state: 'available' }])

  const hold = await app.hold(id, 3)
  const changed_ms = performance.now()
  await until('the second event', () => events.length === 2)
  t.ok(performance.now() - changed_ms < 1_000, 'soon, and in 250 ms where the machine is not busy')
  t.match(events[1], { available: 7, held: 3 })
  await app.order(hold)
  await until('the third event', () => events.length === 3)
  t.match(events[2], { available: 7, held: 0, pending: 3 })
})

t.test('many changes at once make few events, and the last one is right', async (t) => {
  const id = await app.product(50)
  const { events } = await follow(t, app.origin, id)
  await times(50, () => app.hold(id))
  await until('the stock to be held', () => events.at(-1)?.held === 50)
  t.ok(events.length < 25, `${events.length} events`)
  t.equal(events.at(-1)?.state, 'all_held')
})

t.test('nothing comes while nothing changes', async (t) => {
  const id = await app.product(1)
  const { events } = await follow(t, app.origin, id)
  await until('the first event', () => events.length === 1)
  await wait(600)
  t.equal(events.length, 1)
})

t.test('a listener who comes between a change and its return is told of the return', async (t) => {
  const id = await app.product(1)
  const first = await follow(t, app.origin, id)
  await until('the first event', () => first.events.length === 1)
  for (let round = 0; round < 5; round += 1) {
    const hold = await app.hold(id)
    const late = await follow(t, app.origin, id)
    await app.call('DELETE', `/api/holds/${hold.hold_id}`)
    await until('the free unit', () => late.events.at(-1)?.available === 1, 2_000)
    late.stream.destroy()
  }
  t.pass('each of them saw the stock as it is')
})

t.test('listeners of one product see the same, and one who leaves stops nobody', async (t) => {
  const id = await app.product(5)
  const all = await times(5, () => follow(t, app.origin, id))
  await until('everybody to listen', () => all.every(({ events }) => events.length === 1))
  all[0]?.stream.destroy()
  await app.hold(id, 2)
  await until('the change', () => all.slice(1).every(({ events }) => events.at(-1)?.held === 2))
  t.equal(all[0]?.events.length, 1)
})

t.test('a HEAD request does not stay open as a listener', async (t) => {
  const id = await app.product(5)
  const path = `/api/products/${id}/stock/stream`
  const reply = await send(app.origin, { method: 'HEAD', path, agent: app.agent })
  t.equal(reply.status, 404)
})

t.test('streams end when the service closes', async (t) => {
  const closing = await build(t)
  const id = await closing.product(5)
  const { events, ended } = await follow(t, closing.origin, id)
  await until('the first event', () => events.length === 1)
  await closing.app.close()
  await until('the end', () => ended.is)
  t.ok(ended.is)
})

t.test(
  'several products are followed over one connection, with the time until units may come back',
  async (t) => {
    const [one, other] = [await app.product(1), await app.product(5)]
    const { events } = await follow(t, app.origin, `/api/stock/stream?product_ids=${one},${other}`)
    await until('the first events', () => events.length === 2)
    t.match(events, [
      { product_id: one, available: 1, state: 'available', next_chance_at: null },
      { product_id: other, available: 5 },
    ])
    const { expires_at } = await app.hold(one)
    await until('the third event', () => events.length === 3)
    t.match(events[2], { product_id: one, held: 1, state: 'all_held' })
    const { next_chance_at } = events[2] as unknown as { next_chance_at: string }
    const after_ms = Date.parse(next_chance_at) - Date.parse(expires_at)
    t.ok(after_ms >= 0 && after_ms < 1_000, 'the end of the hold, rounded up to a second')
  },
)

t.test('a stream of products that are not there, or of no products, is refused', async (t) => {
  const id = await app.product(1)
  const get = (query: string) => app.call('GET', `/api/stock/stream${query}`)
  t.match(await get(`?product_ids=${id},${id + 1_000}`), { status: 404, body: { code: 'product_not_found' } })
  const many = Array.from({ length: 101 }, (_, at) => at + 1).join(',')
  for (const query of [
    '',
    '?product_ids=',
    '?product_ids=0',
    '?product_ids=1,',
    '?product_ids=a',
    `?product_ids=${many}`,
  ]) {
    t.match(await get(query), { status: 400, body: { code: 'validation_failed' } }, query.slice(0, 30))
  }
})

t.test('who follows more than his share is refused, and somebody else is not', async (t) => {
  const ids: number[] = []
  for (let at = 0; at < 6; at += 1) ids.push(await app.product(1))
  const server = Fastify({ trustProxy: true })
  await server.register(stockStreamRoutes, {
    ...{ ...app.service, config: app.config },
    max_following: { listeners: 100, products: 10, follows: 100 },
  })
  const origin = await server.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => server.close())
  const path = `/api/stock/stream?product_ids=${ids.slice(0, 5)}`
  await follow(t, origin, path)
  const other = `/api/products/${ids[5]}/stock/stream`
  const from = (address: string) => ({ 'x-forwarded-for': address })
  const refused = await send(origin, { method: 'GET', path: other, headers: from('127.0.0.1:1') })
  t.match(refused, {
    status: 429,
    headers: { 'content-type': /problem\+json/, 'retry-after': /^\d+$/ },
    body: { code: 'rate_limited' },
  })
  t.equal((await follow(t, origin, other, from('192.0.2.1'))).stream.statusCode, 200)
})

t.test('listeners who left while their product was read take nobody’s place', async (t) => {
  const PLACES = 4
  const server = Fastify()
  const { engine, lookup } = app.service
  let waiting = 0
  const readProduct: typeof engine.readProduct = async (id) => {
    waiting += 1
    await wait(50)
    return engine.readProduct(id)
  }
  const max_following = { listeners: PLACES, products: 1_000, follows: 1_000 }
  await server.register(stockStreamRoutes, {
    engine: { ...engine, readProduct },
    lookup,
    max_following,
  } as never)
  const origin = await server.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => server.close())
  const id = await app.product(5)
  const { port } = new URL(origin)
  await times(PLACES * 2, async (at) => {
    const socket = connect(Number(port), '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`GET /api/products/${id}/stock/stream HTTP/1.1\r\nhost: localhost\r\n\r\n`)
    await until('it is read', () => waiting > at)
    if (at % 2) socket.destroy()
    else socket.resetAndDestroy()
  })
  await wait(100)
  const { events } = await follow(t, origin, id)
  await until('the first event of somebody else', () => events.length === 1)
})
