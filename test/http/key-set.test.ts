import { createPublicKey, type JsonWebKey } from 'node:crypto'
import t, { type Test } from 'tap'
import { build } from '../fixtures/app.ts'
import { createKey, openKeyServer } from '../fixtures/key-server.ts'
import { snapshot } from '../fixtures/refusals.ts'
import { bearer, sign } from '../fixtures/tokens.ts'

const UNAUTHORIZED = {
  status: 401,
  headers: { 'www-authenticate': 'Bearer' },
  body: { code: 'unauthorized' },
}
const UNAVAILABLE = { status: 503, headers: { 'retry-after': '1' }, body: { code: 'unavailable' } }
/** What HTTP promises for a 503. */
const LIMIT_MS = 3_000

const [rsa, ec, ed] = [
  await createKey('RS256', 'r'),
  await createKey('ES256', 'e'),
  await createKey('EdDSA', 'o'),
]

async function open(t: Test) {
  const server = await openKeyServer(t, [rsa.jwk, ec.jwk, ed.jwk])
  const app = await build(t, { env: { CUSTOMER_JWKS_URL: server.url } })
  const product_id = await app.product(100)
  const place = (token: string) => app.call('POST', '/api/holds', { product_id, qty: 1 }, bearer(token))
  return { server, app, place }
}

t.test('tokens are checked with the published keys, which are fetched once', async (t) => {
  const { server, place } = await open(t)
  for (const key of [rsa, ec, ed]) {
    t.match(await place(await key.sign({ sub: 'ada' })), {
      status: 201,
      body: { data: { customer_id: 'ada' } },
    })
  }
  t.equal(server.fetches(), 1)
})

t.test('a token of another key or algorithm is refused, and changes nothing', async (t) => {
  const { app, place } = await open(t)
  const stranger = await createKey('RS256', 'r')
  const unknown = await createKey('RS256', 'other')
  const pem = createPublicKey({ key: rsa.jwk as JsonWebKey, format: 'jwk' }).export({
    type: 'spki',
    format: 'pem',
  })
  const bad: Record<string, string> = {
    'another key of the same name': await stranger.sign({ sub: 'ada' }),
    'a key that is not published': await unknown.sign({ sub: 'ada' }),
    'a key for another algorithm': await rsa.sign({ sub: 'ada' }, { alg: 'RS256', kid: 'e' }),
    'a secret made of the public key': sign({ sub: 'ada' }, String(pem), { alg: 'HS256', kid: 'r' }),
    'a secret made of its JWK': sign({ sub: 'ada' }, JSON.stringify(rsa.jwk), { alg: 'HS256', kid: 'r' }),
    'no signature': sign({ sub: 'ada' }, '', { alg: 'none', kid: 'r' }),
    'no customer': await rsa.sign({}),
    'an empty customer': await rsa.sign({ sub: '' }),
  }
  await place(await rsa.sign({ sub: 'ada' }))
  const before = await snapshot(app)
  for (const [name, token] of Object.entries(bad)) t.match(await place(token), UNAUTHORIZED, name)
  t.same(await snapshot(app), before)
})

t.test(
  'while the keys can not be fetched the answer is 503 in time, and nothing is said of the token',
  async (t) => {
    const { server, app, place } = await open(t)
    const good = await rsa.sign({ sub: 'ada' })
    const before = await snapshot(app)
    for (const [what, fail] of [
      ['a server in trouble', (response) => response.writeHead(500).end()],
      ['another page', (response) => response.end('<html>')],
      ['no set of keys', (response) => response.end('{"keys":1}')],
      ['a way elsewhere', (response) => response.writeHead(302, { location: server.url }).end()],
      ['a cut connection', (response) => response.destroy()],
      ['silence', () => {}],
      ['half an answer', (response) => response.write('{"keys":[')],
    ] as Array<[string, Parameters<typeof server.fail>[0]]>) {
      server.fail(fail)
      const reply = await place(good)
      t.match(reply, UNAVAILABLE, what)
      t.ok(reply.took_ms < LIMIT_MS, `${what}: ${Math.round(reply.took_ms)} ms`)
    }
    t.match(await place(sign({ sub: 'ada' }, 'x'.repeat(32))), UNAUTHORIZED, 'needs no key to be refused')
    t.match(await place('ada'), UNAUTHORIZED, 'nor does what is no token')
    t.same(await snapshot(app), before, 'nothing changed')

    server.publish()
    t.match(await place(good), { status: 201 }, 'as soon as they are there again')
    await server.close()
    t.match(await place(good), { status: 201 }, 'known keys serve on')
  },
)

t.test('nobody listens where the keys should be: 503', async (t) => {
  const { server, place } = await open(t)
  await server.close()
  t.match(await place(await rsa.sign({ sub: 'ada' })), UNAVAILABLE)
})
