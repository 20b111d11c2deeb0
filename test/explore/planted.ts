import { cp, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** What a copy of the project needs to explore itself. */
const PARTS = ['package.json', 'tsconfig.json', 'src', 'lua', 'drizzle', 'test']

/** Text of a file of the project, and what stands in its place. */
export type Planted = { what: string; file: string; from: string; to: string }

/** Small changes, each of which breaks a promise: an explorer that does not find them proves nothing. */
export const PLANTED: Planted[] = [
  {
    what: 'a hold stays when its order is made',
    file: 'lua/include/create.lua',
    from: '  remove_hold(own, request.hold)\n',
    to: '',
  },
  {
    what: 'units of an unpaid order come back twice',
    file: 'lua/expire-orders.lua',
    from: "    give_back(keys, items, order.customer, 'pending')\n",
    to: "    give_back(keys, items, order.customer, 'pending')\n    move_stock(keys.products, items[1].product, 'held', 'available', items[1].qty)\n",
  },
  {
    what: 'a released hold stays where it stands',
    file: 'lua/release-hold.lua',
    from: 'remove_hold(keys, hold)\n',
    to: '',
  },
  {
    what: 'a payment is not remembered by its order',
    file: 'lua/apply-payment.lua',
    from: 'remember_payment(keys, payment, outcome, entry, outcome, reason)\n',
    to: '',
  },
  {
    what: 'a second success is applied again',
    file: 'lua/include/payments.lua',
    from: "  elseif order.payment_status == 'paid' then\n    return 'refund_due', 'already_paid'\n",
    to: "  elseif order.payment_status == 'paid' then\n    return 'applied', ''\n",
  },
  {
    what: 'a late success is applied though no unit is free',
    file: 'lua/include/payments.lua',
    from: '  if not all_available(keys, items) then\n    return false\n  end\n',
    to: '',
  },
  {
    what: 'a cancelled order keeps its units',
    file: 'lua/cancel-order.lua',
    from: "give_back(keys, parse_items(order.items), order.customer, 'pending')\n",
    to: '',
  },
  {
    what: 'a hold that was extended ends when it would have',
    file: 'lua/extend-hold.lua',
    from: "redis.call('ZADD', hold.key, 'XX', score_of(id, later_ms), hold.member)\nredis.call('HSET', keys.extended, id, int(later_ms))\n",
    to: '',
  },
  {
    what: 'a dead hold stays when its units are given back',
    file: 'lua/include/dead-holds.lua',
    from: "    redis.call('ZREM', keys.holds, unpack(dead_members))\n",
    to: '',
  },
  {
    what: 'a failed payment keeps the units',
    file: 'lua/include/payments.lua',
    from: "  give_back(keys, items, order.customer, 'pending')\n  order.payment_status",
    to: '  order.payment_status',
  },
  {
    what: 'an order that was cancelled is paid all the same',
    file: 'lua/include/payments.lua',
    from: "  elseif order.cancel_reason == 'requested' then\n    return 'refund_due', 'order_cancelled'\n",
    to: '',
  },
  {
    what: 'payments that came before their order are kept from PostgreSQL',
    file: 'lua/include/create.lua',
    from: "#request.records > 0 and cjson.encode(request.records) or ''",
    to: "''",
  },
  {
    what: 'a buyer is told before PostgreSQL has it',
    file: 'src/journal/writer.ts',
    from: 'return await Promise.race([commitInTurn(entry), late])',
    to: "commitInTurn(entry).catch(() => {})\n      return await Promise.race([Promise.resolve('committed' as const), late])",
  },
  {
    what: 'a change of stock is made again under its key',
    file: 'lua/adjust-stock.lua',
    from: 'if is_of_this_epoch(made_in) then',
    to: 'if false then',
  },
  {
    what: 'no step looks at the fence',
    file: 'lua/include/fence.lua',
    from: "  return redis.call('GET', epoch_key) ~= epoch\n",
    to: "  return redis.call('GET', epoch_key) == false\n",
  },
  {
    what: 'PostgreSQL takes what was decided before a rebuild',
    file: 'src/journal/write.ts',
    from: 'known > epoch) throw new LateError(known)',
    to: 'known > epoch + 1_000) throw new LateError(known)',
  },
  {
    what: 'the floor has the last word at once',
    file: 'src/journal/refusals.ts',
    from: 'page.filter(isRoom)',
    to: 'page.filter(() => false)',
  },
  {
    what: 'the floor is believed though Redis was emptied',
    file: 'src/journal/refusals.ts',
    from: ' || !(await isKept(entry))',
    to: '',
  },
  {
    what: 'a late commit asks only how far an order has come',
    file: 'src/journal/refusals.ts',
    from: 'if (order && !(known && isOrComesOf(known, order))) return false',
    to: 'if (order && !(known && known.version >= order.version)) return false',
  },
  {
    what: 'a late commit does not look for its payments',
    file: 'src/journal/refusals.ts',
    from: 'if (!payments.every((payment) => isWrittenBy(payment, rows.get(payment.idempotency_key)))) return false',
    to: '',
  },
  {
    what: 'an older transition takes the place of a newer one',
    file: 'src/db/orders.ts',
    from: "      where starts_with(excluded.history, known.history || ',')`",
    to: '`',
  },
  {
    what: 'the journal is dropped before the commit',
    file: 'src/journal/put.ts',
    from: '      await transact((sql) => [refuseLate(sql, entries), write(sql, entries)])\n      on_commit?.(entries)\n      drop(entries)\n',
    to: '      drop(entries)\n      await transact((sql) => [refuseLate(sql, entries), write(sql, entries)])\n      on_commit?.(entries)\n',
  },
  {
    what: 'a rebuild does not finish the journal',
    file: 'src/recovery/rebuilder.ts',
    from: '      await finishJournal(engine, writer, shard, { epoch })\n',
    to: '',
  },
  {
    what: 'a rebuild drops holds that live',
    file: 'src/recovery/rebuild.ts',
    from: 'survivors.kept.push(hold)',
    to: 'survivors.dropped.push({ hold, is_remembered: true })',
  },
  {
    what: 'a Redis that was started again is taken for the same',
    file: 'src/engine/redis.ts',
    from: "${field(server, 'run_id')}",
    to: 'always',
  },
  {
    what: 'nobody counts commits',
    file: 'src/db/marks.ts',
    from: '  if (count <= commits) throw new PastError()\n',
    to: '',
  },
]

/** A copy of the project with a fault in it, in a folder that is the caller's. Throws where there is nothing to change any more. */
export async function plant({ file, from, to }: Planted): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-planted-'))
  for (const part of PARTS) await cp(join(ROOT, part), join(root, part), { recursive: true })
  await symlink(join(ROOT, 'node_modules'), join(root, 'node_modules'))
  const text = await textFor({ file, from })
  await writeFile(
    join(root, file),
    text.replace(from, () => to),
  )
  return root
}

/** The file in which a fault is planted. Throws where there is nothing to change any more. */
export async function textFor({ file, from }: Pick<Planted, 'file' | 'from'>): Promise<string> {
  const text = await readFile(join(ROOT, file), 'utf8')
  if (!text.includes(from)) throw new Error(`${file} has no such text any more: ${from}`)
  return text
}
