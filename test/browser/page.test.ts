import t from 'tap'
import { build } from '../fixtures/app.ts'
import { openBrowser, shownStock, showsPart } from './fixtures/browser.ts'

const browser = await openBrowser(t)

if (browser) {
  const app = await build(t, { sweeper: true })

  t.test('the page loads without a complaint of the browser and asks nobody else', async (t) => {
    const id = await app.product(100, { name: 'Trail shoe' })
    const { page, problems } = await browser.visit(t, app.origin)
    await page.getByRole('heading', { name: 'Trail shoe' }).waitFor()
    t.same(await shownStock(page, id), { available: 100, held: 0, pending: 0, sold: 0 })
    await page.locator('#charts .uplot').first().waitFor()
    t.same(problems, [])
    t.equal(await page.title(), 'Holdfast')
  })

  t.test('the stock moves within a second of a change', async (t) => {
    const id = await app.product(50)
    const { page, problems } = await browser.visit(t, app.origin)
    await showsPart(page, id, 'held', 0)
    const took_ms: number[] = []
    // A machine that stands still for a moment says nothing of the page; five times it does not.
    for (let held = 1; held <= 5; held += 1) {
      await app.hold(id)
      const held_ms = performance.now()
      await showsPart(page, id, 'held', held)
      took_ms.push(performance.now() - held_ms)
    }
    t.comment(`shown after ${took_ms.map((ms) => `${Math.round(ms)} ms`).join(', ')}`)
    t.ok(Math.min(...took_ms) < 1_000)
    t.same(await shownStock(page, id), { available: 45, held: 5, pending: 0, sold: 0 })
    const bar = page.locator(`.product[data-product="${id}"]`).getByRole('img')
    t.equal(await bar.getAttribute('aria-label'), '45 available, 5 held, 0 pending, 0 sold, of 50')
    t.same(problems, [])
  })

  t.test('the state is said in words, with the time until units may come back', async (t) => {
    const id = await app.product(1, { name: 'Last one' })
    const later = await app.product(5, { starts_at_ms: Date.now() + 7_200_000 })
    const sold = await app.product(1)
    const { page } = await browser.visit(t, app.origin)
    const card = (id: number) => page.locator(`.product[data-product="${id}"]`)
    await card(id).getByText('On sale').waitFor()
    await card(later).getByText('Not started yet').waitFor()
    await card(later)
      .getByText(/Starts in 1:59:\d\d|Starts in 2:00:00/)
      .waitFor()
    const { hold_id } = await app.hold(id)
    await card(id)
      .getByText(/^All held, next chance in \d+ s$/)
      .waitFor()
    await app.call('DELETE', `/api/holds/${hold_id}`)
    await card(id).getByText('On sale').waitFor()
    const hold = await app.hold(sold)
    await app.order(hold)
    await app.pay(hold.order_id, 'success')
    await card(sold).getByText('Sold out').waitFor()
    t.pass('each of them')
  })

  t.test('a product that somebody creates appears, and is followed', async (t) => {
    const { page, problems } = await browser.visit(t, app.origin)
    const id = await app.product(7, { name: 'New arrival' })
    await page.getByRole('heading', { name: 'New arrival' }).waitFor()
    await app.hold(id, 2)
    await showsPart(page, id, 'held', 2)
    t.same(problems, [])
  })

  t.test('a page whose service went away says so, and is live again afterwards', async (t) => {
    const gone = await build(t)
    const id = await gone.product(4)
    const { page } = await browser.visit(t, gone.origin)
    await showsPart(page, id, 'available', 4)
    await page.context().setOffline(true)
    gone.app.server.closeAllConnections()
    await page.getByText('Reconnecting').waitFor()
    await gone.hold(id)
    await page.context().setOffline(false)
    await showsPart(page, id, 'held', 1)
    await page.getByText('Live').waitFor()
    t.pass('it caught up')
  })
}
