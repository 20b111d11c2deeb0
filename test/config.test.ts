import { randomBytes } from 'node:crypto'
import t from 'tap'
import { readConfig } from '../src/config.ts'
import { parseClusterNodes } from '../src/engine/nodes.ts'

const secret = (bytes = 32) => `whsec_${randomBytes(bytes).toString('base64')}`
const PRODUCTION = {
  NODE_ENV: 'production',
  ADMIN_TOKEN: 'token',
  WEBHOOK_SECRETS: secret(),
  REDIS_URL: 'redis://redis:6379',
  DATABASE_URL: 'postgres://postgres/holdfast',
}

/** The one line that stops the start. */
function refusal(env: NodeJS.ProcessEnv): string {
  try {
    readConfig(env)
  } catch (error) {
    const { name, message } = error as Error
    return name === 'StartError' ? message : `${name}, which is not for the reader: ${message}`
  }
  return 'it starts'
}

t.test('without any variable everything has its default', async (t) => {
  t.match(readConfig({}), {
    PORT: 3000,
    HOST: '127.0.0.1',
    DATA_DIR: '.data',
    WEBHOOK_SECRETS: [],
    HOLD_TTL_SECONDS: 120,
    ORDER_TTL_SECONDS: 900,
    SWEEPER: 'inline',
    STOCK_SHARDS: 1,
    WORKERS: 1,
    LOG_LEVEL: 'info',
    TRUST_PROXY: false,
    is_loopback: true,
  })
})

t.test('an empty variable counts as unset, and those of other programs are ignored', async (t) => {
  const config = readConfig({
    PORT: '',
    ADMIN_TOKEN: '',
    WEBHOOK_SECRETS: '',
    PATH: '/bin',
    npm_config_port: 'x',
  })
  t.match(config, { PORT: 3000, WEBHOOK_SECRETS: [] })
  t.notOk(config.ADMIN_TOKEN)
})

t.test('what is set is taken', async (t) => {
  const secrets = [secret(24), secret(64)]
  const config = readConfig({
    ...{ PORT: '0', HOST: '::1', HOLD_TTL_SECONDS: '86400', ORDER_TTL_SECONDS: '1', SWEEPER: 'off' },
    ...{ STOCK_SHARDS: '16', WORKERS: '64', LOG_LEVEL: 'silent', WEBHOOK_SECRETS: secrets.join(',') },
    ...{ REDIS_URL: 'rediss://user:pass@host:1/2', DATABASE_URL: 'postgresql://host/db' },
  })
  t.match(config, {
    ...{
      PORT: 0,
      HOST: '::1',
      HOLD_TTL_SECONDS: 86_400,
      ORDER_TTL_SECONDS: 1,
      SWEEPER: 'off',
      STOCK_SHARDS: 16,
      WORKERS: 64,
    },
    ...{
      LOG_LEVEL: 'silent',
      WEBHOOK_SECRETS: secrets,
      is_loopback: true,
      REDIS_URL: 'rediss://user:pass@host:1/2',
    },
  })
})

t.test('a value that makes no sense stops the start with one line that names it', async (t) => {
  const bad: Array<[name: string, ...values: string[]]> = [
    ['PORT', 'http', '-1', '65536', '3000.5', '3000x', '0x10', 'NaN'],
    ['HOLD_TTL_SECONDS', '0', '-1', '1.5', '86401', 'two', '1e9', 'Infinity'],
    ['ORDER_TTL_SECONDS', '0', 'never', '2592001'],
    ['STOCK_SHARDS', '0', '4097', 'many', '1.5'],
    ['WORKERS', '0', '-1', '65', '1.5', 'auto', '0x2', '1e1', ' 2'],
    ['SWEEPER', 'on', 'INLINE', 'true', '1'],
    ['LOG_LEVEL', 'loud', 'INFO'],
    ['REDIS_URL', 'localhost:6379', 'http://localhost', 'redis//x', 'redis://localhost:99999', 'redis://a b'],
    ['DATABASE_URL', 'localhost', 'mysql://localhost/db', 'postgres://localhost:port/db'],
    [
      'WEBHOOK_SECRETS',
      'secret',
      'whsec_',
      'whsec_%%%',
      ',',
      secret(8),
      secret(65),
      `${secret()},secret`,
      ` ${secret()}`,
    ],
    ['REDIS_CLUSTER_NODES', '1'],
    ['RATE_LIMIT_PER_MINUTE', '0', '-1', '1.5', 'many', '1e3', '1000001'],
    ['CUSTOMER_JWT_SECRET', 'secret', 's'.repeat(31), 'ä'.repeat(15)],
    [
      'CUSTOMER_JWKS_URL',
      'keys.json',
      'ftp://host/keys',
      'https://',
      'http://a b',
      'https://user:pass@host/keys',
    ],
    ['TRUST_PROXY', 'yes', '10.0.0.0/33', 'localhost', '1.2.3', '-1', '10.0.0.1,proxy'],
  ]
  for (const [name, ...values] of bad) {
    for (const value of values) {
      const line = refusal({ [name]: value })
      t.match(line, new RegExp(`^${name} `), `${name}=${value}: ${line}`)
      t.notOk(line.includes('\n'))
      if (/SECRET/.test(name)) t.notOk(value.length > 12 && line.includes(value), 'without the secret')
    }
  }
})

t.test('customers are named by tokens of one kind, or by the shop', async (t) => {
  const [CUSTOMER_JWT_SECRET, CUSTOMER_JWKS_URL] = ['s'.repeat(32), 'https://shop.example/keys.json']
  t.equal(readConfig({}).CUSTOMER_JWT_SECRET, undefined)
  t.match(readConfig({ CUSTOMER_JWT_SECRET }), { CUSTOMER_JWT_SECRET })
  t.match(readConfig({ CUSTOMER_JWT_SECRET: 'ä'.repeat(16) }), { CUSTOMER_JWT_SECRET: 'ä'.repeat(16) })
  t.match(readConfig({ CUSTOMER_JWKS_URL }), { CUSTOMER_JWKS_URL })
  const line = refusal({ CUSTOMER_JWT_SECRET, CUSTOMER_JWKS_URL })
  t.match(line, /^CUSTOMER_JWT_SECRET and CUSTOMER_JWKS_URL can not both be set/)
  t.notOk(line.includes(CUSTOMER_JWT_SECRET))
})

t.test('requests are limited only where a number is set', async (t) => {
  t.equal(readConfig({}).RATE_LIMIT_PER_MINUTE, undefined)
  t.equal(readConfig({ RATE_LIMIT_PER_MINUTE: '600' }).RATE_LIMIT_PER_MINUTE, 600)
})

t.test('proxies are trusted by number, by address or all', async (t) => {
  const trusted = (TRUST_PROXY: string) => readConfig({ TRUST_PROXY }).TRUST_PROXY
  t.equal(trusted('true'), true)
  t.equal(trusted('false'), false)
  t.equal(trusted('2'), 2)
  for (const list of ['10.0.0.1', '10.0.0.0/8,::1', 'loopback', 'loopback, uniquelocal,fd00::/8'])
    t.equal(trusted(list), list)
})

t.test('in production everything that protects must be set', async (t) => {
  t.match(readConfig(PRODUCTION), { NODE_ENV: 'production', ADMIN_TOKEN: 'token' })
  for (const name of ['ADMIN_TOKEN', 'WEBHOOK_SECRETS', 'REDIS_URL', 'DATABASE_URL']) {
    for (const value of [undefined, '']) {
      const line = refusal({ ...PRODUCTION, [name]: value })
      t.match(line, new RegExp(`^${name} must be set when NODE_ENV is production$`))
    }
  }
})

t.test('only addresses of this machine count as such', async (t) => {
  const isLoopback = (HOST: string) => readConfig({ HOST }).is_loopback
  for (const host of ['127.0.0.1', '127.1.2.3', 'localhost', '::1']) t.ok(isLoopback(host), host)
  for (const host of [
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '127.0.0.1.example.com',
    'localhost.example.com',
    'example.com',
  ]) {
    t.notOk(isLoopback(host), host)
  }
})

t.test('Redis is one server or a cluster, whose nodes are listed', async (t) => {
  const nodes = 'a:7000,127.0.0.1:7001,[::1]:7002'
  t.equal(readConfig({ REDIS_CLUSTER_NODES: nodes }).REDIS_CLUSTER_NODES, nodes)
  t.match(
    readConfig({ ...PRODUCTION, REDIS_URL: '', REDIS_CLUSTER_NODES: nodes }),
    { NODE_ENV: 'production' },
    'in production either will do',
  )
  for (const wrong of ['a', 'a:', ':1', 'a:1,,b:1', 'a:1;b:2', 'a:70000', 'http://a:1/x', 'a:1/2']) {
    t.match(
      refusal({ REDIS_CLUSTER_NODES: wrong }),
      /^REDIS_CLUSTER_NODES must be a .* list of host:port/,
      wrong,
    )
  }
  t.match(
    refusal({ REDIS_URL: 'redis://a:1', REDIS_CLUSTER_NODES: nodes }),
    'REDIS_URL and REDIS_CLUSTER_NODES can not both be set: unset one of them',
  )
  t.same(parseClusterNodes('rediss://me:p%40ss@a:1,b:2'), {
    startup: [
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ],
    options: { username: 'me', password: 'p@ss', tls: {} },
  })
})
