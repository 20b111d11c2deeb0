import t, { type Test } from 'tap'
import { type App, build, newKey } from '../fixtures/app.ts'
import { openBrowser, showsPart } from './fixtures/browser.ts'

const browser = await openBrowser(t)
const TOKEN = 'an-admin-token-of-some-length'

if (browser) {
  const app = await build(t)
  const guarded = await build(t, { env: { ADMIN_TOKEN: TOKEN } })

  const visitOperator = async (t: Test, at: App) => {
    const visit = await browser.visit(t, at.origin)
    const tile = (label: string) => visit.page.locator('#tiles div', { hasText: label }).locator('dd')
    return { ...visit, tile, said: (text: string) => visit.page.getByText(text, { exact: true }).waitFor() }
  }

  t.test('an operator creates a product, restocks it, takes units out, and pauses its sale', async (t) => {
    const { page, problems, said } = await visitOperator(t, app)
    await page.getByText('Create a product').click()
    await page.getByLabel('Name').fill('Winter coat')
    await page.getByLabel('Price').fill('129.50')
    await page.getByLabel('Currency').fill('EUR')
    await page.getByLabel('Units', { exact: true }).fill('40')
    await page.getByLabel('At most per customer').fill('2')
    await page.getByLabel('Ends').fill('2099-01-01T12:00')
    await page.getByRole('button', { name: 'Create', exact: true }).click()
    await page.getByRole('heading', { name: 'Winter coat' }).waitFor()
    const [row] = await app.sql<{ id: number }>("select id from products where name = 'Winter coat'")
    const id = row?.id as number
    t.match(await app.readProduct(id), { unit_amount: 12950, currency: 'EUR', max_per_customer: 2 })
    await said(`Winter coat is on sale as product ${id}.`)
    await page
      .locator(`.product[data-product="${id}"]`)
      .getByText(/Ends in \d+ days/)
      .waitFor()

    const delta = page.getByLabel('Units to add to Winter coat')
    await delta.fill('25')
    await delta.press('Enter')
    await said('Winter coat: 25 units added.')
    await showsPart(page, id, 'available', 65)
    await delta.press('Enter')
    await showsPart(page, id, 'available', 90)
    await delta.fill('-100')
    await delta.press('Enter')
    await page.getByText(/Only 90 are free/).waitFor()
    const keys = await app.sql(
      `select count(distinct idempotency_key)::int as keys from stock_adjustments where product_id = ${id}`,
    )
    t.same(keys, [{ keys: 2 }], 'each under a key of its own')

    await page.getByRole('button', { name: 'Pause Winter coat' }).click()
    await said('Winter coat is paused.')
    await page.locator(`.product[data-product="${id}"]`).getByText('Paused').waitFor()
    t.match(await app.call('POST', '/api/holds', { product_id: id, qty: 1, customer_id: 'ada' }), {
      status: 409,
      body: { code: 'sale_paused' },
    })
    await page.getByRole('button', { name: 'Resume Winter coat' }).click()
    await said('Winter coat goes on.')
    await app.hold(id, 1, { customer_id: 'ada' })
    t.same(problems, [])
  })

  t.test('the desk shows the journal, the fence and refunds, which can be noted as paid back', async (t) => {
    const hold = await app.hold(await app.product(1))
    await app.order(hold)
    await app.paid(hold.order_id, 'success', {}, newKey())
    await app.paid(hold.order_id, 'success', { amount: 9900, currency: 'USD' }, newKey())
    const { page, tile } = await visitOperator(t, app)
    await tile('Refunds due').filter({ hasText: /^1$/ }).waitFor()
    await tile('Fence').filter({ hasText: 'Open' }).waitFor()
    t.equal(await tile('Journal entries').textContent(), '0')
    await page.getByRole('button', { name: /is paid back/ }).click()
    await page.getByText('None: no money has to go back.').waitFor()
    await tile('Refunds due').filter({ hasText: /^0$/ }).waitFor()
    t.same(
      await app.sql('select 1 from payments where refunded_at is null and outcome = $1', ['refund_due']),
      [],
    )
  })

  t.test(
    'with an admin token set the corner asks for it, keeps it for the tab, and forgets it when told',
    async (t) => {
      const id = await guarded.product(5, { name: 'Guarded' })
      const { page, problems } = await visitOperator(t, guarded)
      await showsPart(page, id, 'available', 5)
      t.equal(await page.locator('#desk').isVisible(), false)
      await page.getByLabel('Admin token').fill('wrong')
      await page.getByRole('button', { name: 'Open the desk' }).click()
      await page.getByText('That is not the admin token.').waitFor()
      await page.getByLabel('Admin token').fill(TOKEN)
      await page.getByLabel('Admin token').press('Enter')
      await page.getByRole('button', { name: 'Pause Guarded' }).click()
      await page.getByText('Guarded is paused.').waitFor()
      await page.reload()
      await page.getByRole('button', { name: 'Resume Guarded' }).waitFor()
      t.equal(await page.evaluate('localStorage.length'), 0)
      await page.getByRole('button', { name: 'Forget the admin token' }).click()
      await page.getByLabel('Admin token').waitFor()
      t.equal(await page.evaluate('sessionStorage.length'), 0)
      t.equal(await page.locator('#desk').isVisible(), false)
      t.same(problems, [])
    },
  )
}
