import slotOf from 'cluster-key-slot'
import { Redis } from 'ioredis'
import t from 'tap'
import { SIGNATURES } from '../../src/engine/commands.ts'
import type { Payment } from '../../src/engine/records.ts'
import { loadScript } from '../../src/engine/scripts.ts'
import { slotOfShard } from '../../src/engine/slots.ts'
import { clockAt } from '../fixtures/change.ts'
import { EPOCH, type Fixture, idem, notice, openFixture } from '../fixtures/redis.ts'
import { openRedisServer } from '../fixtures/redis-server.ts'

/** A node of a Redis Cluster that has all slots, so that Redis itself looks after the slots of a script's keys. */
const cluster = await openRedisServer(t, ['--cluster-enabled', 'yes'])

/** A script as it was sent, and the commands it gave. */
type Sent = { script: string; keys: string[]; commands: string[][] }

/** Watches a Redis and notes every script that is sent to it. */
async function watch(url: string) {
  const redis = new Redis(url)
  const monitor = await redis.monitor()
  const names = new Map(Object.keys(SIGNATURES).map((name) => [loadScript(name).sha, name]))
  const sent: Sent[] = []
  monitor.on('monitor', (_time: string, [command = '', ...args]: string[], source: string) => {
    const is_script = ['eval', 'evalsha'].includes(command.toLowerCase())
    if (source === 'lua') sent.at(-1)?.commands.push([command, ...args])
    if (source === 'lua' || !is_script) return
    const [what = '', count = '0', ...rest] = args
    const script = names.get(what) ?? /--\[\[\\n {2}([a-z-]+):/.exec(what)?.[1] ?? what
    sent.push({ script, keys: rest.slice(0, Number(count)), commands: [] })
  })
  return {
    sent,
    /** Everything that was sent before is noted when this resolves. */
    async settle(): Promise<void> {
      const mark = `mark ${sent.length} ${Date.now()}`
      const seen = new Promise<void>((resolve) => {
        monitor.on('monitor', (_time: string, args: string[]) => args.includes(mark) && resolve())
      })
      await redis.echo(mark)
      await seen
    },
    /** The keys that a script touched, by Redis's own knowledge of its commands. */
    async touched({ commands }: Sent): Promise<string[]> {
      const keys = commands.map(async ([command = '', ...args]) => {
        if (command.toUpperCase() === 'TIME') return []
        return (await redis.call('COMMAND', 'GETKEYS', command, ...args)) as string[]
      })
      return [...new Set((await Promise.all(keys)).flat())]
    },
    close() {
      monitor.disconnect()
      redis.disconnect()
    },
  }
}

/** Takes every script through its ways, in the shard of one product, and leaves something under every key. */
async function tell(f: Fixture, product: number): Promise<void> {
  const shard = f.engine.shardOfProduct(product)
  const short = f.open({ hold_ttl_ms: 1 })
  const own = { customer_id: 'ada' }
  const one: Array<[number, number]> = [[product, 1]]
  const pay = (id: string, key: string, status: 'success' | 'failed', may_park = false) =>
    f.engine.applyPayment(
      notice(id, `${product}-${key}`, status, { transaction_id: key, is_once: true }),
      may_park,
    )
  const order = async (by = f.engine) => {
    const { id } = await f.hold(one, own)
    await by.createOrder(id, idem(id))
    return id
  }

  await f.load(product, 20, { max_per_customer: 20 })
  const hold = await f.hold(one, { ...own, idem: idem(`k${product}`) })
  await f.place(one, { ...own, idem: idem(`k${product}`) })
  await f.place([[product, 30]], own)
  await f.open({ change: clockAt(hold.created_at_ms + 5) }).extendHold(hold.id)
  const never = `AAAAAAAAAAAAAAAA${hold.id.slice(16)}`
  for (const id of [hold.id, never]) {
    await f.engine.readHold(id)
    await f.engine.extendHold(id)
    await f.engine.releaseHold(never)
    await f.engine.createOrder(never, null)
  }
  await pay(hold.id, 'parked', 'success')
  await f.open({ change: clockAt(hold.created_at_ms + 10) }).extendHold(hold.id)
  await f.engine.readHold(hold.id)
  await pay(hold.id, 'twin', 'success')
  const released = await f.hold(one, own)
  await pay(released.id, 'lost', 'success')
  await f.engine.releaseHold(released.id)
  await f.engine.releaseHold(released.id)
  await pay(released.id, 'late', 'success', true)
  await f.engine.settleParked(shard)
  const early = await f.hold(one, own)
  await pay(early.id, 'failed', 'failed')
  await pay(early.id, 'success', 'success')
  await f.engine.createOrder(early.id, null)
  const paid = await order()
  await pay(paid, 'paid', 'success')
  await pay(paid, 'paid', 'success')
  await pay(paid, 'twice', 'success')
  const cancelled = await order()
  await f.engine.cancelOrder(cancelled)
  await f.engine.cancelOrder(cancelled)
  await f.engine.readOrder(cancelled)
  await order()
  const late = await order(f.open({ order_ttl_ms: 1 }))
  await f.until((await f.now()) + 2)
  await f.engine.expireOrders(shard)
  await f.engine.orderPrepaid(shard)
  const free = (await f.stock(product))?.available ?? 0
  const dead = await f.hold([[product, free]], { ...own, engine: short })
  await f
    .open({ change: clockAt(dead.expires_at_ms - 1) })
    .placeHold({ items: [{ product_id: product, qty: 1 }], customer_id: 'bob', idem: null })
  await f.until(dead.expires_at_ms)
  await pay(late, 'after', 'success')
  const rest = (await f.stock(product))?.available ?? 0
  const taken = await f.hold([[product, rest]], { ...own, engine: short })
  await f.until(taken.expires_at_ms)
  await f.hold(one, own)
  const second = await f.hold(one, { ...own, engine: short })
  await f.until(second.expires_at_ms)
  await f.engine.expireHolds(shard)
  await f.engine.adjustStock(product, 5, 'k', 'more')
  await f.engine.adjustStock(product, 5, 'k', 'more')
  const third = await f.hold(one, { ...own, engine: short })
  await f.until(third.expires_at_ms)
  await f.engine.adjustStock(product, -100, 'k2', null)
  const known = await f.engine.readOrder(paid)
  if (!known) throw new Error('no order')
  await f.redis.del(f.keys.id(shard, 'order', paid))
  const payment: Payment = {
    ...notice(paid, `${product}-paid`, 'success'),
    outcome: 'applied',
    first_outcome: 'applied',
    reason: null,
    created_at_ms: known.created_at_ms,
    seq: 0,
  }
  await f.engine.loadOrder(shard, known, [payment])
  await f.engine.loadParked(shard, { ...payment, order_id: hold.id, idempotency_key: 'loaded' }, 1)
  const unpaid = await order()
  const pending = await f.engine.readOrder(unpaid)
  await f.redis.del(f.keys.id(shard, 'order', unpaid))
  if (pending) await f.engine.loadOrder(shard, pending, [])
  await f.engine.loadParked(
    shard,
    { ...payment, order_id: unpaid, idempotency_key: 'x', status: 'failed' },
    0,
  )
  await f.engine.settleParkedOf(shard, unpaid)
  await f.hold(one, own)
  const read = await f.engine.readProduct(product)
  await f.hold([[product, read?.stock.available ?? 0]], { customer_id: 'bob' })
  await f.engine.readStock(shard, [product])
  await f.engine.readHolds(product, null, 10)
  const sold = product + 10 // in the same shard
  await f.load(sold, 20, { max_per_customer: 20 }, { pending: 0, sold: 1 })
  await f.hold([[sold, 1]], { ...own, engine: f.open({ findBought: async (buyers) => buyers.map(() => 1) }) })
}

/** What a rebuild does to a shard, and a writer to an entry that it cannot write. */
async function rebuild(f: Fixture, shard: number): Promise<void> {
  const [entry_id = ''] =
    (await f.redis.xrange(f.keys.shard(shard, 'journal'), '-', '+', 'COUNT', 1))[0] ?? []
  await f.engine.journal.buryEntry(shard, entry_id, 'testing')
  await f.engine.journal.dropEntries(shard, [entry_id], undefined, { writer: 'w', commits: 1 })
  // As many as there are kinds of keys that are forgotten.
  await f.redis.zadd(f.keys.shard(shard, 'deadlines'), 1, 'a|3', 2, 'b|3', 3, 'c|3')
  await f.engine.forgetOrders(shard)
  await f.engine.clearShard(shard)
  const holds = await f.engine.allHolds(shard)
  await f.engine.loadHolds(shard, holds, new Set([holds[0]?.id ?? '']))
  await f.engine.loadBuyers(shard, new Map([['3:ada', 1]]))
  await f.engine.dropHolds(
    shard,
    holds.map((hold, at) => ({ hold, is_remembered: at % 2 === 0 })),
  )
  const next = f.open({ epoch: EPOCH + 1 })
  await next.raiseEpoch(shard)
  await next.copyResults(0, shard, new Set([2]))
}

t.test(
  'every key that a script touches was declared, lies in the slot of its shard and has its type',
  async (t) => {
    const f = await openFixture(t, { url: cluster.url, shards: 2 })
    const watched = await watch(cluster.url)
    t.teardown(() => watched.close())
    await tell(f, 2)
    await tell(f, 3)
    await f.equation('at the end')
    await rebuild(f, 1)
    await watched.settle()
    const { sent } = watched

    t.same(
      [...new Set(sent.map(({ script }) => script))].sort(),
      Object.keys(SIGNATURES).sort(),
      'every script ran',
    )
    const undeclared: string[] = []
    const astray: string[] = []
    const touched_names = new Map<string, Set<string>>()
    for (const one of sent) {
      const signature: readonly string[] = SIGNATURES[one.script as keyof typeof SIGNATURES].keys
      const slots = new Set(one.keys.map(slotOf))
      if (slots.size !== 1 || ![0, 1].map(slotOfShard).includes([...slots][0] ?? -1))
        astray.push(`${one.script}: ${one.keys}`)
      for (const key of await watched.touched(one)) {
        const at = one.keys.indexOf(key)
        if (at < 0) undeclared.push(`${one.script} touched ${key}`)
        const names = touched_names.get(one.script) ?? new Set()
        touched_names.set(one.script, names.add(signature[Math.min(at, signature.length - 1)] ?? ''))
      }
    }
    t.same(undeclared, [], 'no key but those in KEYS')
    t.same(astray, [], 'each script has keys of one shard only')
    for (const [script, names] of touched_names) {
      t.same(
        [...SIGNATURES[script as keyof typeof SIGNATURES].keys].filter((it) => !names.has(it)),
        [],
        `${script} needs all its keys`,
      )
    }

    const dump = await f.dump()
    const types = new Map<string, string>()
    for (const name of Object.keys(SIGNATURES)) {
      for (const [, key = '', type = ''] of loadScript(name).source.matchAll(
        /^ {2}KEYS\[\d+\] +(\S+) +(\w+)/gm,
      )) {
        types.set(key.replace('...', ''), type)
      }
    }
    const kinds = new Set<string>()
    for (const [key, { type }] of Object.entries(dump)) {
      const kind = key.split(':')[1] ?? ''
      kinds.add(kind)
      if (types.get(kind) !== type) t.fail(`${key} is a ${type}, its headers say ${types.get(kind)}`)
    }
    t.same([...kinds].sort(), [...types.keys()].sort(), 'there is something under every kind of key')
  },
)

t.test('control: a key that is touched without being declared is noticed', async (t) => {
  const server = await openRedisServer(t)
  const f = await openFixture(t, { url: server.url })
  await f.load(1, 10)
  const { id } = await f.hold(1)
  const watched = await watch(server.url)
  t.teardown(() => watched.close())
  const other = f.keys.shard(0, 'journal')
  const careless = f.open({
    change: [["redis.call('EXISTS', keys.released)", `redis.call('EXISTS', '${other}')`]],
  })
  await careless.readHold(`AAAAAAAAAAAAAAAA${id.slice(16)}`)
  await watched.settle()
  const [one] = watched.sent
  const touched = one ? await watched.touched(one) : []
  t.same(
    touched.filter((key) => !one?.keys.includes(key)),
    [other],
  )
})

t.test('control: Redis itself refuses a script with keys of two shards', async (t) => {
  const f = await openFixture(t, { url: cluster.url, shards: 2 })
  const { lua } = loadScript('read-products')
  const keys = [f.keys.shard(0, 'epoch'), f.keys.shard(1, 'products')]
  await t.rejects(f.redis.eval(lua, 2, ...keys, 1, 1), /CROSSSLOT/)
  const astray = f.open({ change: [["redis.call('GET', epoch_key)", `redis.call('GET', '${keys[1]}')`]] })
  await t.rejects(
    astray.readProduct(2),
    { message: /slot/ },
    'and one that reaches for a key of another shard',
  )
})
