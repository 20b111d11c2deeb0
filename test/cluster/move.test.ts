import t, { type Test } from 'tap'
import { slotOfShard } from '../../src/engine/slots.ts'
import { checkLedger, createClient, newLedger, startSale } from '../faults/fixtures/sale.ts'
import { openTestCluster, ownerOf } from '../fixtures/cluster.ts'
import { createDatabase } from '../fixtures/database.ts'
import { start, startServer } from '../fixtures/program.ts'
import { balance } from './fixtures/balance.ts'

const SHARDS = 6
const UNITS = 2_000
const PROCESSES = 2
/** Each of the first three shards has a master of its own. */
const MOVES = [1, 2, 0, 2]
const [HOT, BESIDE, OTHER] = [SHARDS, 1, 2]

/** A cluster, and a product in each of its first three shards. */
async function openGround(t: Test) {
  const cluster = await openTestCluster(t)
  const database = await createDatabase(t)
  const env = {
    REDIS_CLUSTER_NODES: cluster.list,
    DATABASE_URL: database.url,
    STOCK_SHARDS: String(SHARDS),
  }
  for (const id of [HOT, BESIDE, OTHER]) {
    await database.query(
      `insert into products (id, name, unit_amount, currency, total, shard) values ($1, 'Shoe', 100, 'USD', $2, $3)`,
      [id, UNITS, id % SHARDS],
    )
  }
  /** Runs the command; resolves with how it ended and what it said. */
  async function move(...args: string[]) {
    const { ended, output } = start(t, 'move-product', env, { args })
    return { code: (await ended).code, said: output.stdout + output.stderr }
  }
  return { cluster, database, env, move }
}

t.test('a product moves from master to master while several processes sell it', async (t) => {
  const { cluster, database, env, move } = await openGround(t)
  const servers = await Promise.all(Array.from({ length: PROCESSES }, () => startServer(t, env)))
  const front = balance(servers)
  const ledger = newLedger()
  const sales = [HOT, BESIDE, OTHER].map((id) => startSale([front], id, { buyers: 2, ledger }))
  const client = createClient(front, ledger)
  const owners = new Set<string>()
  for (const to of MOVES) {
    const [hold, unpaid] = [await client.held(HOT), await client.ordered(HOT)]
    const { code, said } = await move('--product', String(HOT), '--shard', String(to))
    t.equal(code, 0, said)
    t.match(said, new RegExp(`moved product ${HOT} from shard \\d to ${to}: \\d+ holds, \\d+ unpaid orders`))
    owners.add((await ownerOf(cluster, slotOfShard(to))).name)
    t.ok(await client.order(hold), 'a hold of before becomes an order')
    t.match(
      await client.pay(unpaid.order_id, 'success'),
      { outcome: 'applied' },
      'an order of before is paid',
    )
    await sales[0]?.sells(20)
  }
  t.equal(owners.size, 3, 'it was on each of the masters')
  for (const sale of sales) await sale.stop()
  const verify = start(t, 'verify', env)
  t.match(await verify.ended, { code: 0 }, `Redis and PostgreSQL agree: ${verify.output.stdout}`)
  await checkLedger(t, database.query, ledger, 'afterwards')
  t.same([...ledger.refused.keys()], [503], 'nothing but 503 was refused')
  const rebuilt = servers
    .flatMap(({ output }) => output.stdout.match(/shard [3-5]: rebuilding/g) ?? [])
    .filter((line, at, all) => all.indexOf(line) !== at)
  t.same(rebuilt, [], 'no other shard was closed')
})

t.test('a move that can not be made is refused in one line', async (t) => {
  const { move } = await openGround(t)
  for (const [args, code, said] of [
    [['--product', String(HOT), '--shard', '0'], 0, `holdfast: shard 0 has product ${HOT} already\n`],
    [['--product', '9999', '--shard', '0'], 1, 'holdfast: there is no product 9999\n'],
    [
      ['--product', String(HOT), '--product', String(BESIDE), '--shard', '2'],
      1,
      /does not live with the others: move it alone\n$/,
    ],
    [['--product', String(HOT), '--shard', '6'], 1, 'holdfast: there is no shard 6: the shards are 0 to 5\n'],
    [
      ['--product', '0', '--shard', '1'],
      1,
      'holdfast: it takes a product and a shard: see npm run move-product -- --help\n',
    ],
    [['--help'], 0, /^npm run move-product -- --product ID/],
  ] as const) {
    t.match(await move(...args), { code, said })
  }
})
