import { type Ledger, patiently, type Told } from './buyers.ts'
import type { Chance } from './chance.ts'
import type { Running, World } from './world.ts'

/** Asks for a change until somebody answers, and notes what was told, or may be. */
async function change(
  world: World,
  chance: Chance,
  ledger: Ledger,
  one: Extract<Told, { what: 'stock' | 'price' }>,
  send: Parameters<typeof patiently>[2],
): Promise<void> {
  const reply = await patiently(world, chance, send, () => void ledger.maybe.push(one))
  if (reply?.status === 200) ledger.told.push(one)
  else if (reply && reply.status !== 409) {
    const { code = '' } = reply.body as { code?: string }
    ledger.told.push({ what: 'unheard-of', product_id: one.product_id, status: reply.status, code })
  }
}

/** What a shop does to a product now and then: it adds units, takes free ones out, pauses it, changes its price, or moves it. */
export async function tend(
  world: World,
  chance: Chance,
  product_ids: number[],
  ledger: Ledger,
): Promise<void> {
  const product_id = chance.pick(product_ids)
  const path = `/api/products/${product_id}`
  const plan = chance.below(4)
  if (plan === 0) {
    const delta = chance.pick([1, 2, -1, -2])
    const key = `s${chance.below(1e9)}`
    const send = (to: Running) => world.send(to, 'POST', `${path}/stock`, { delta }, key)
    const one = { what: 'stock', product_id, delta } as const
    await change(world, chance, ledger, one, send)
    // Whoever did not hear of it sends it again.
    if (chance.below(2) === 1) await change(world, chance, ledger, one, send)
  } else if (plan === 1) {
    const unit_amount = 100 + chance.below(900)
    await change(world, chance, ledger, { what: 'price', product_id, unit_amount }, (to) =>
      world.send(to, 'PATCH', path, { unit_amount }),
    )
  } else if (plan === 2) {
    for (const paused of [true, false]) {
      await patiently(world, chance, (to) => world.send(to, 'PATCH', path, { paused }))
    }
  } else await world.move(product_id, chance.below(world.shards))
}
