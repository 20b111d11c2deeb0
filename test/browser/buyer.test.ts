import t, { type Test } from 'tap'
import { type App, build } from '../fixtures/app.ts'
import { newSecret, sign } from '../fixtures/tokens.ts'
import { until } from '../fixtures/until.ts'
import { openBrowser, showsPart } from './fixtures/browser.ts'

const browser = await openBrowser(t)
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`

if (browser) {
  /** Visits the page with this product chosen. */
  const visitBuyer = async (t: Test, app: App, product_id: number) => {
    const visit = await browser.visit(t, app.origin)
    await showsPart(visit.page, product_id, 'held', 0)
    await visit.page.getByRole('combobox', { name: 'Product' }).selectOption(String(product_id))
    const press = (name: string) => visit.page.getByRole('button', { name, exact: true }).click()
    return { ...visit, press, says: (text: RegExp) => visit.page.getByText(text).first().waitFor() }
  }

  t.test('a unit is sold from end to end, through signed webhooks', async (t) => {
    const app = await build(t, { env: { WEBHOOK_SECRETS: SECRET } })
    const id = await app.product(10)
    const { page, problems, press, says } = await visitBuyer(t, app, id)
    await page.getByLabel('Quantity').fill('2')
    await page.getByRole('textbox', { name: 'Customer optional' }).fill('ada')
    await press('Hold')
    await says(/^2 units for \$198\.00 held/)
    await showsPart(page, id, 'held', 2)
    t.match(await page.getByRole('timer').textContent(), /^[12]:\d\d$/, 'the ring counts down')
    await press('Extend')
    await page.locator('#answers li').nth(1).waitFor()
    await press('Make the order')
    await says(/^Ordered: 2 units/)
    await showsPart(page, id, 'pending', 2)
    await press('Pay')
    await says(/^Paid: 2 units are sold to you/)
    await showsPart(page, id, 'sold', 2)
    t.same(await app.stock(id), { total: 10, available: 8, held: 0, pending: 0, sold: 2, state: 'available' })
    t.match(await app.sql('select customer_id, payment_status from orders'), [
      { customer_id: 'ada', payment_status: 'paid' },
    ])

    const answers = await page.locator('#answers summary').allTextContents()
    t.match(answers, [
      /^200POST \/api\/simulator\/payments[\d.]+ ms$/,
      /^201POST \/api\/orders[\d.]+ ms$/,
      /^200POST \/api\/holds\/hld_\S+\/extend[\d.]+ ms$/,
      /^201POST \/api\/holds[\d.]+ ms$/,
    ])
    await page.locator('#answers summary').nth(1).click()
    t.match(await page.locator('#answers pre').nth(1).textContent(), /"order_status": "pre-payment"/)
    t.same(problems, [])
    await app.agree(t, 'in the end')
  })

  t.test('a buyer goes from hold to payment by keyboard alone', async (t) => {
    const app = await build(t)
    const id = await app.product(3)
    const { page, says } = await visitBuyer(t, app, id)
    await page.getByRole('button', { name: /^Hold some of/ }).focus()
    await page.keyboard.press('Enter')
    t.equal(await page.evaluate('document.activeElement.id'), 'hold-qty', 'it leads to the form')
    await page.keyboard.type('1')
    await page.keyboard.press('Enter')
    await says(/^1 unit for .* held/)
    await page.keyboard.press('Enter')
    await says(/^Ordered: 1 unit/)
    await page.keyboard.press('Enter')
    await says(/^Paid: 1 unit is sold to you/)
    t.match(await app.stock(id), { sold: 1 })
  })

  t.test('what can not be had is said, and so is what ends by itself', async (t) => {
    const app = await build(t, { sweeper: true })
    const id = await app.product(2, { hold_ttl_ms: 3_000 })
    const { page, press, says } = await visitBuyer(t, app, id)
    await page.getByLabel('Quantity').fill('3')
    await press('Hold')
    await says(/^Only 2 units left/)
    await page.getByLabel('Quantity').fill('2')
    await press('Hold')
    await says(/^2 units for/)
    await says(/^The hold has expired/)
    await showsPart(page, id, 'available', 2)
    await press('Hold')
    await says(/^2 units for/)
    await press('Release')
    await says(/^Released/)
    const hold = await app.hold(id, 2, { customer_id: 'bob' })
    await press('Hold')
    await says(/^All held: try again in \d s/)
    await app.order(hold)
    await app.pay(hold.order_id, 'success')
    await press('Hold')
    await says(/^Sold out/)
    t.match(await app.stock(id), { sold: 2 })
  })

  t.test('a payment fails, comes twice, and an order is cancelled', async (t) => {
    const app = await build(t)
    const id = await app.product(5)
    const { press, says } = await visitBuyer(t, app, id)
    const order = async () => {
      await press('Hold')
      await says(/^1 unit for .* held/)
      await press('Make the order')
      await says(/^Ordered/)
    }
    await order()
    await press('Let the payment fail')
    await says(/^The order is cancelled, because it was not paid/)
    await order()
    await press('Cancel')
    await says(/^The order is cancelled, as you asked/)
    await order()
    await press('Pay twice')
    await says(/^Paid: 1 unit/)
    t.match(await app.stock(id), { available: 4, sold: 1 })
    const rows = await app.sql('select outcome, count(*)::int as count from payments group by 1 order by 1')
    t.same(rows, [{ outcome: 'applied', count: 2 }], 'twice is once')
  })

  t.test('a payment that comes by another way is seen', async (t) => {
    const app = await build(t)
    const id = await app.product(5)
    const { press, says } = await visitBuyer(t, app, id)
    await press('Hold')
    await press('Make the order')
    await says(/^Ordered/)
    const [row] = await until('the order', async () => {
      const rows = await app.sql<{ order_id: string }>('select id as order_id from orders')
      return rows.length > 0 && rows
    })
    await app.paid(row?.order_id as string, 'success')
    await says(/^Paid: 1 unit/)
    t.match(await app.stock(id), { sold: 1 })
  })

  t.test('where customers have tokens the page asks for one', async (t) => {
    const secret = newSecret()
    const app = await build(t, { env: { CUSTOMER_JWT_SECRET: secret } })
    const id = await app.product(5)
    const { page, press, says } = await visitBuyer(t, app, id)
    t.equal(await page.locator('#hold-customer').isVisible(), false)
    await press('Hold')
    await says(/^This needs the token of a customer/)
    await page.getByLabel('Customer token').fill(sign({ sub: 'ada' }, secret))
    await press('Hold')
    await says(/^1 unit for/)
    await press('Make the order')
    await says(/^Ordered/)
    await press('Pay')
    await says(/^Paid: 1 unit/)
    t.match(await app.sql('select customer_id from orders'), [{ customer_id: 'ada' }])
  })
}
