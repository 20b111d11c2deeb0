import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import t from 'tap'
import { build } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { openBrowser, showsPart } from './fixtures/browser.ts'

const browser = await openBrowser(t)
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
/** Colours are those of the scheme, the layout that of the width: two looks show all of both. */
const LOOKS = [
  { width: 1280, colorScheme: 'light' },
  { width: 390, colorScheme: 'dark' },
] as const

if (browser) {
  const app = await build(t, { sweeper: true })
  await app.product(10, { name: 'Trail shoe' })

  for (const { width, colorScheme } of LOOKS) {
    t.test(`at ${width} px, ${colorScheme}, all can read and use it, and nothing sticks out`, async (t) => {
      const { page } = await browser.visit(t, app.origin, { viewport: { width, height: 844 }, colorScheme })
      await page.locator('#charts .uplot').first().waitFor()
      await page.evaluate(AXE)
      const found = (await page.evaluate('axe.run()')) as {
        violations: Array<{ id: string; nodes: Array<{ target: string[]; failureSummary: string }> }>
      }
      t.same(
        found.violations.map(({ id, nodes }) => [
          id,
          nodes.map((node) => [node.target, node.failureSummary]),
        ]),
        [],
        'no violations that axe knows',
      )
      t.equal(await page.evaluate('document.documentElement.scrollWidth'), width)
    })
  }

  t.test('whoever wants less motion gets none', async (t) => {
    const id = await app.product(4)
    const { page } = await browser.visit(t, app.origin, { reducedMotion: 'reduce' })
    await showsPart(page, id, 'available', 4)
    const duration = () =>
      page.evaluate("getComputedStyle(document.querySelector('.bar span')).transitionDuration")
    t.equal(await duration(), '0s')
    await page.emulateMedia({ reducedMotion: 'no-preference' })
    await until('motion for all others', async () => (await duration()) !== '0s')
  })
}
