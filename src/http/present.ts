import type { PaymentRow } from '../db/payments.ts'
import { holdId, orderId } from '../engine/ids.ts'
import type { FollowedProduct, Product } from '../engine/products.ts'
import type { Hold, Item, Order } from '../engine/records.ts'

/** The resources as the outside sees them: prefixed ids, ISO times. */
const isos = new Map<number, string>()
const MAX_ISOS = 256

/** What gathers into one step shares its times, so the latest ones are kept as text. */
function iso(ms: number): string {
  const known = isos.get(ms)
  if (known !== undefined) return known
  if (isos.size === MAX_ISOS) isos.clear()
  const text = new Date(ms).toISOString()
  isos.set(ms, text)
  return text
}
const isoOrNull = (ms: number | null) => (ms === null ? null : iso(ms))

function only(items: Item[]): { product_id: number | null; qty: number | null } {
  const [item, ...others] = items
  return item && others.length === 0
    ? { product_id: item.product_id, qty: item.qty }
    : { product_id: null, qty: null }
}

export function presentHold(hold: Hold, status: 'active' | 'ordered' = 'active') {
  const { id, items, amount, currency, customer_id, created_at_ms, expires_at_ms } = hold
  return {
    hold_id: holdId(id),
    order_id: orderId(id),
    status,
    ...only(items),
    items,
    amount,
    currency,
    customer_id,
    created_at: iso(created_at_ms),
    expires_at: iso(expires_at_ms),
  }
}

/** The hold that an order was made from. */
export function presentOrderedHold(order: Order) {
  const { hold_created_at_ms: created_at_ms, hold_expires_at_ms: expires_at_ms, ...rest } = order
  return presentHold({ ...rest, created_at_ms, expires_at_ms }, 'ordered')
}

export function presentOrder(order: Order) {
  const { id, items, amount, currency, payment_status, order_status, cancel_reason, customer_id } = order
  return {
    order_id: orderId(id),
    hold_id: holdId(id),
    ...only(items),
    items,
    amount,
    currency,
    payment_status,
    order_status,
    cancel_reason,
    customer_id,
    created_at: iso(order.created_at_ms),
    pay_by: iso(order.pay_by_ms),
  }
}

export const presentStock = ({ stock, state }: Product) => ({ ...stock, state })

/** One of several products that are followed at once. */
export function presentFollowed(product: FollowedProduct) {
  const next_chance_at = isoOrNull(product.next_chance_at_ms)
  return { product_id: product.id, ...presentStock(product), next_chance_at }
}

/** @param default_ttl_ms how long holds live on products that do not say */
export function presentProduct(product: Product, default_ttl_ms: number) {
  const { id, terms, stock, state } = product
  return {
    id,
    name: terms.name,
    unit_amount: terms.unit_amount,
    currency: terms.currency,
    available_stock: stock.available,
    stock,
    state,
    starts_at: isoOrNull(terms.starts_at_ms),
    ends_at: isoOrNull(terms.ends_at_ms),
    hold_ttl_seconds: (terms.hold_ttl_ms ?? default_ttl_ms) / 1000,
    max_per_hold: terms.max_per_hold,
    max_per_customer: terms.max_per_customer,
  }
}

/** @param shelf as the admin named it */
export function presentShelved(product: Product, default_ttl_ms: number, shelf: string | null) {
  return { ...presentProduct(product, default_ttl_ms), ...(shelf === null ? {} : { shelf }) }
}

export function presentPayment(payment: PaymentRow) {
  const { idempotency_key, order_id, outcome, status, reason, amount, currency, transaction_id } = payment
  return {
    idempotency_key,
    order_id: orderId(order_id),
    outcome,
    status,
    reason,
    amount,
    currency,
    transaction_id,
    created_at: iso(payment.created_at_ms),
    refunded_at: isoOrNull(payment.refunded_at_ms),
  }
}
