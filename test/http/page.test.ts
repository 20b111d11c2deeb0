import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { build } from '../fixtures/app.ts'
import { send } from '../fixtures/http.ts'

const WEB = join(import.meta.dirname, '..', '..', 'src', 'web')
const POLICY =
  /^default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/

t.test(
  'the live page and all that it asks for are there, under a policy that allows nothing else',
  async (t) => {
    const app = await build(t)
    const get = (path: string) => send(app.origin, { method: 'GET', path })
    const page = await get('/')
    t.match(page, { status: 200, headers: { 'content-type': /^text\/html/ } })
    const named = [...page.text.matchAll(/(?:src|href)="(\/web\/[^"]+)"/g)].map(([, path]) => path as string)
    const scripts = readdirSync(join(WEB, 'js')).map((name) => `/web/js/${name}`)
    const imported = scripts.flatMap((path) =>
      [
        ...readFileSync(join(WEB, path.slice('/web/'.length)), 'utf8').matchAll(
          /import\('(\/web\/[^']+)'\)/g,
        ),
      ].map(([, path]) => path as string),
    )
    const font = /url\("([^"]+)"\)/.exec(readFileSync(join(WEB, 'style.css'), 'utf8'))?.[1] as string
    const paths = new Set([...named, ...scripts, ...imported, font])
    t.ok(paths.size > 15, `${paths.size} files`)
    for (const path of paths) {
      const reply = await get(path)
      t.equal(reply.status, 200, path)
      t.match(reply.headers['content-security-policy'], POLICY)
      t.match(reply.headers, { 'x-content-type-options': 'nosniff', 'x-request-id': /./ })
    }
    t.notMatch(page.text, /https?:\/\//, 'nobody else is asked')
    t.notMatch(page.text, /<script(?![^>]* src=)| style=| on\w+=/, 'nothing that the policy would refuse')
  },
)

t.test('only what belongs to the page is served', async (t) => {
  const app = await build(t)
  for (const path of [
    '/web/',
    '/web/nothing.js',
    '/web/../config.ts',
    '/web/..%2fconfig.ts',
    '/web/js',
    '/web/vendor/uplot/../package.json',
  ]) {
    const reply = await send(app.origin, { method: 'GET', path })
    t.match(reply, { status: 404, body: { code: 'route_not_found' } }, path)
  }
  t.match(await send(app.origin, { method: 'HEAD', path: '/' }), { status: 200, text: '' })
})

t.test('the page learns what it needs to know of the configuration, and no secret', async (t) => {
  const secret = `whsec_${Buffer.alloc(32, 3).toString('base64')}`
  const production = {
    NODE_ENV: 'production',
    ADMIN_TOKEN: 'an-admin-token-of-some-length',
    WEBHOOK_SECRETS: secret,
    REDIS_URL: 'redis://127.0.0.1:1',
    DATABASE_URL: 'postgres://127.0.0.1:1/none',
  }
  const cases = [
    [{}, { customers: 'open', admin: 'open', simulator: true }],
    [{ HOST: '0.0.0.0' }, { customers: 'open', admin: 'closed', simulator: false }],
    [production, { customers: 'open', admin: 'token', simulator: false }],
    [{ CUSTOMER_JWT_SECRET: 's'.repeat(32) }, { customers: 'tokens', admin: 'open', simulator: true }],
  ] as const
  for (const [env, settings] of cases) {
    const app = await build(t, { env })
    const { body } = await send(app.origin, { method: 'GET', path: '/web/settings.json' })
    t.same(body, settings, Object.keys(env).join(', ') || 'as it is started')
    await app.close()
  }
})

t.test('the page does not count against the limit of requests', async (t) => {
  const app = await build(t, { env: { RATE_LIMIT_PER_MINUTE: '2' } })
  const statuses = []
  for (let times = 0; times < 5; times += 1) {
    statuses.push((await send(app.origin, { method: 'GET', path: '/' })).status)
  }
  t.same(statuses, [200, 200, 200, 200, 200])
  const holds = []
  for (let times = 0; times < 3; times += 1) {
    holds.push((await send(app.origin, { method: 'GET', path: '/api/holds/x' })).status)
  }
  t.same(holds, [404, 404, 429], 'control: other requests do')
})
