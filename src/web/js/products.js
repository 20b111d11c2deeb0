import { call, isGood } from './api.js'
import { now, onTick } from './clock.js'
import { at, h, mark, say } from './dom.js'
import { count, countdownWords, money, stateWords } from './words.js'

/**
 * @typedef {{ total: number, available: number, held: number, pending: number, sold: number }} Stock
 * @typedef {{ id: number, name: string, unit_amount: number, currency: string, stock: Stock, state: string, starts_at: string | null,
 *   ends_at: string | null, hold_ttl_seconds: number, max_per_customer: number | null, next_chance_at?: string | null }} Product
 */

const PARTS = /** @type {const} */ (['available', 'held', 'pending', 'sold'])
/** How soon a product that somebody else has created is seen. */
const LOOK_EVERY_MS = 10_000
/** As many as one stream tells of. */
const MAX_PRODUCTS = 100

/** @type {Map<number, Product>} */
const products = new Map()
/** @type {Map<number, ReturnType<typeof createCard>>} */
const cards = new Map()
/** @type {Array<() => void>} */
const on_change = []
let choose = (/** @type {number} */ _id) => {}

/** One product: its bar in four parts, its numbers, its state in words. @param {number} id */
function createCard(id) {
  const name = h('span')
  const price = h('span', { className: 'price' })
  const title = h('h2', { id: `product-${id}` }, name, price)
  const words = h('span')
  const state = h('p', { className: 'state' }, h('span', { className: 'dot' }), words)
  const segments = PARTS.map((part) => h('span', { data: { part } }))
  const bar = h('div', { className: 'bar', attrs: { role: 'img' } }, ...segments)
  const numbers = PARTS.map(() => h('dd'))
  const rows = PARTS.map((part, nth) =>
    h('div', { data: { part } }, h('dt', {}, part[0]?.toUpperCase() + part.slice(1)), numbers[nth]),
  )
  const foot = h('span')
  const button = h('button', { className: 'small', type: 'button', onclick: () => choose(id) }, 'Hold some')
  const element = h(
    'li',
    { className: 'product', attrs: { 'aria-labelledby': `product-${id}` } },
    h('div', { className: 'product-head' }, title, state),
    bar,
    h('dl', { className: 'parts' }, ...rows),
    h('div', { className: 'product-foot' }, foot, button),
  )

  return {
    element,
    /** @param {Product} product */
    show(product) {
      const { stock } = product
      element.dataset.state = product.state
      element.dataset.product = id
      say(name, product.name)
      say(price, money(product.unit_amount, product.currency))
      for (const [nth, part] of PARTS.entries()) {
        segments[nth].style.flexGrow = String(stock[part])
        mark(segments[nth], 'none', stock[part] === 0)
        say(numbers[nth], count(stock[part]))
      }
      bar.setAttribute(
        'aria-label',
        `${PARTS.map((part) => `${stock[part]} ${part}`).join(', ')}, of ${stock.total}`,
      )
      button.setAttribute('aria-label', `Hold some of ${product.name}`)
    },
    /** @param {Product} product */
    tick(product) {
      say(words, stateWords(product, now()))
      const countdown = countdownWords(product, now())
      say(foot, `${count(product.stock.total)} in all${countdown ? ` · ${countdown}` : ''}`)
    },
  }
}

/** @param {Product} product */
function show(product) {
  const card = cards.get(product.id) ?? createCard(product.id)
  if (!cards.has(product.id)) {
    cards.set(product.id, card)
    at('products').append(card.element)
  }
  card.show(product)
  card.tick(product)
}

function summarize() {
  const all = [...products.values()]
  const free = all.reduce((sum, { stock }) => sum + stock.available, 0)
  const total = all.reduce((sum, { stock }) => sum + stock.total, 0)
  say(
    at('stock-summary'),
    all.length === 0
      ? ''
      : `${count(free)} of ${count(total)} units free, ${all.length} ${all.length === 1 ? 'product' : 'products'}`,
  )
}

/** Takes a product as it is now; what the stream alone tells is kept. @param {Product} product */
export function takeProduct(product) {
  products.set(product.id, { ...products.get(product.id), ...product })
  show(/** @type {Product} */ (products.get(product.id)))
  summarize()
  for (const changed of on_change) changed()
}

/** Reads the list of products; answers whether it could be read. */
export async function readProducts() {
  const answer = await call('GET', `/api/products?limit=${MAX_PRODUCTS}`)
  at('products').removeAttribute('aria-busy')
  if (!isGood(answer)) return false
  for (const product of answer.body.data) takeProduct(product)
  if (products.size === 0) {
    const empty = h(
      'li',
      { className: 'empty' },
      'There is no product yet. The operator’s corner creates one.',
    )
    at('products').replaceChildren(empty)
  } else at('products').querySelector('.empty')?.remove()
  return true
}

/** @param {{ product_id: number, state: string, next_chance_at: string | null } & Stock} told what the stream says */
export function takeStock({ product_id, state, next_chance_at, ...stock }) {
  const known = products.get(product_id)
  if (known) takeProduct({ ...known, stock, state, next_chance_at })
}

export const allProducts = () => [...products.values()]

/** @param {() => void} changed called after every change */
export function onProducts(changed) {
  on_change.push(changed)
}

/** @param {(id: number) => void} chosen called with the product that a visitor wants to hold */
export function startProducts(chosen) {
  choose = chosen
  onTick(() => {
    for (const product of products.values()) cards.get(product.id)?.tick(product)
  })
  setInterval(() => document.hidden || readProducts(), LOOK_EVERY_MS)
}
