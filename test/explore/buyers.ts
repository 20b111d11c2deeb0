import type { Chance } from './chance.ts'
import type { Running, World } from './world.ts'

/* What clients do, and what they were told: nothing of that may turn out to be untrue. */

/** What was answered 2xx, in the order in which it was. */
export type Told =
  | { what: 'order'; order_id: string }
  | { what: 'cancelled'; order_id: string }
  | {
      what: 'payment'
      order_id: string
      key: string
      status: 'success' | 'failed'
      outcome: string
      /** Whether its hold lived when this was told, and nobody has let go of it. */
      is_live: boolean
    }
  | { what: 'refused'; order_id: string; status: number; code: string }
  | { what: 'stock'; product_id: number; delta: number }
  | { what: 'price'; product_id: number; unit_amount: number }
  /** A product that is there was denied. */
  | { what: 'unheard-of'; product_id: number; status: number; code: string }

export type Ledger = {
  told: Told[]
  /** What was asked for, and not answered at least once: it may have happened, or may yet. */
  maybe: Told[]
  /** How often Redis may have lost holds. */
  losses: number
}
export const newLedger = (): Ledger => ({ told: [], maybe: [], losses: 0 })

const MAX_TRIES = 6
/** A hold lives for longer than that, and one that was extended for that much longer again. */
const HOLD_MS = 4_500
/** An order may wait for its payment for less than that. */
const LATE_MS = 9_000

/** Sends to whichever process lives until one of them knows what became of it; 503 means that nobody does. */
export async function patiently(
  world: World,
  chance: Chance,
  send: (to: Running) => ReturnType<World['send']>,
  on_silence = () => {},
): Promise<Awaited<ReturnType<World['send']>> | undefined> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const living = world.running()
    if (living.length > 0) {
      const to = chance.pick(living)
      const died = new Promise<undefined>((resolve) => world.onDeath(to.actor, () => resolve(undefined)))
      const reply = await Promise.race([send(to), died])
      if (reply && reply.status !== 503) return reply
      on_silence()
    }
    await world.later()
  }
  return undefined
}

/** A buyer: holds, orders, pays or not, cancels or not, each perhaps twice. */
export async function buy(
  world: World,
  chance: Chance,
  product_ids: number[],
  ledger: Ledger,
): Promise<void> {
  const product_id = chance.pick(product_ids)
  const key = () => `k${chance.below(1e9)}`
  const losses = ledger.losses
  const hold_key = key()
  const held = await patiently(world, chance, (to) =>
    world.send(to, 'POST', '/api/holds', { product_id, qty: 1 + chance.below(2) }, hold_key),
  )
  if (held?.status !== 201) return
  const { hold_id, order_id, expires_at } = held.body.data as {
    hold_id: string
    order_id: string
    expires_at: string
  }
  let ends_ms = Date.parse(expires_at)
  const isLive = () => ends_ms > world.redisNow() && losses === ledger.losses
  const pay = async (status: 'success' | 'failed', payment_key: string) => {
    const paid = await patiently(world, chance, (to) =>
      world.send(
        to,
        'POST',
        '/api/payments/webhook',
        { idempotency_key: payment_key, order_id, status },
        payment_key,
      ),
    )
    if (!paid || paid.status >= 300) return
    const { outcome } = paid.body.data as { outcome: string }
    ledger.told.push({ what: 'payment', order_id, key: payment_key, status, outcome, is_live: isLive() })
  }
  const plan = chance.below(10)
  if (plan === 0) return
  if (plan === 1) {
    await patiently(world, chance, (to) => world.send(to, 'DELETE', `/api/holds/${hold_id}`))
    return
  }
  if (plan === 2) {
    await world.later(chance.below(HOLD_MS))
    const extended = await patiently(world, chance, (to) =>
      world.send(to, 'POST', `/api/holds/${hold_id}/extend`),
    )
    if (extended?.status === 200) {
      ends_ms = Date.parse((extended.body.data as { expires_at: string }).expires_at)
      await world.later(chance.below(HOLD_MS))
    }
  }
  const early = chance.below(4) === 0 ? key() : undefined
  if (early) await pay('success', early)
  if (early && chance.below(3) === 0) return
  const order_key = key()
  const ordered = await patiently(world, chance, (to) =>
    world.send(to, 'POST', '/api/orders', { hold_id }, order_key),
  )
  if (!ordered) return
  if (ordered.status !== 201 && ordered.status !== 200) {
    const { code = '' } = ordered.body as { code?: string }
    if (isLive()) ledger.told.push({ what: 'refused', order_id, status: ordered.status, code })
    return
  }
  ledger.told.push({ what: 'order', order_id })
  if (chance.below(3) === 0) return
  if (chance.below(5) === 0) {
    const cancelled = await patiently(world, chance, (to) =>
      world.send(to, 'DELETE', `/api/orders/${order_id}`),
    )
    if (cancelled?.status === 200) ledger.told.push({ what: 'cancelled', order_id })
  }
  const payment_key = key()
  if (chance.below(4) === 0) await world.later(chance.below(LATE_MS))
  await pay(chance.below(4) === 0 ? 'failed' : 'success', payment_key)
  if (chance.below(2) === 0) return
  if (chance.below(2) === 0) await world.later(chance.below(LATE_MS))
  await pay('success', chance.below(2) === 0 ? payment_key : key())
}
