import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { build } from '../fixtures/app.ts'
import { send } from '../fixtures/http.ts'

type Rule = { alert: string; expr: string; annotations: { summary: string; runbook_url: string } }
type Panel = {
  title: string
  targets: Array<{ expr: string }>
  gridPos: { x: number; y: number; w: number; h: number }
}
type Dashboard = { panels: Panel[]; templating: { list: Array<{ query: { query: string } }> } }
type Compose = {
  services: Record<string, { profiles?: string[]; volumes?: string[]; ports?: string[] }>
  volumes: object
}

const root = join(import.meta.dirname, '..', '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const rules = parse(read('ops/prometheus/alerts.yml')).groups.flatMap(
  (group: { rules: Rule[] }) => group.rules,
) as Rule[]
const dashboard = JSON.parse(read('ops/grafana/dashboards/holdfast.json')) as Dashboard
const compose = parse(read('docker-compose.yml'), { merge: true }) as Compose
/** Of the scrape itself, not of the service; and of the primary, which only serves where there are workers. */
const OTHERS = ['up', 'holdfast_workers']

/** The names of metrics in an expression: words that no `(` or `=` follows, outside of braces, brackets and grouping. */
function metricsIn(expr: string): string[] {
  const bare = expr
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, '')
    .replace(/\b(by|on|without|ignoring)\s*\([^)]*\)/g, '')
    .replace(/\blabel_values\(([^,]+),[^)]*\)/g, '$1')
  const words = bare.match(/\b[a-z_][a-z0-9_]*\b(?!\s*\()/g) ?? []
  return words.filter((word) => !['or', 'and', 'unless'].includes(word))
}

/** The anchors that a reader of the file can be sent to, as GitHub makes them from headings. */
const anchorsOf = (markdown: string) =>
  [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    (heading as string)
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .trim()
      .replaceAll(' ', '-'),
  )

t.test('each number that the dashboard and the alarms read is one that the service has', async (t) => {
  const app = await build(t, { sweeper: true })
  await app.order(await app.hold(await app.product(2)))
  const { text } = await send(app.origin, { method: 'GET', path: '/metrics' })
  const names = [...text.matchAll(/^# TYPE (\S+) (\w+)$/gm)].flatMap(([, name, type]) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name as string],
  )
  const { panels, templating } = dashboard
  const exprs = [
    ...rules.map(({ expr }) => expr),
    ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ...templating.list.map(({ query }) => query.query),
  ]
  const used = [...new Set(exprs.flatMap(metricsIn))]
  t.ok(used.length > 15)
  t.same(
    used.filter((name) => ![...names, ...OTHERS].includes(name)),
    [],
  )
  t.same(metricsIn('sum by (le, x) (rate(holdfast_nothing{a="b"}[1m])) > 0.25'), ['holdfast_nothing'])
  const own = [...text.matchAll(/^# TYPE (holdfast_\S+) /gm)].map(([, name]) => name as string)
  t.same(
    own.filter((name) => !used.some((one) => one.startsWith(name))),
    [],
    'nothing is counted for nobody',
  )
})

t.test('each alarm says what to do, in a section of the guide for operators', async (t) => {
  for (const { alert, annotations } of rules) {
    const [file = '', anchor = ''] = annotations.runbook_url.split('#')
    t.ok(existsSync(join(root, file)), `${alert}: ${file}`)
    if (existsSync(join(root, file))) t.ok(anchorsOf(read(file)).includes(anchor), `${alert}: #${anchor}`)
    t.ok(annotations.summary)
  }
  t.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length)
})

t.test(
  'the profile for monitoring starts what reads these files, and nothing of it comes without the profile',
  async (t) => {
    const { services, volumes } = compose
    const named = Object.keys(services).filter((name) => services[name]?.profiles?.includes('monitoring'))
    t.same(named, ['prometheus', 'grafana'])
    for (const name of named) {
      for (const volume of services[name]?.volumes ?? []) {
        const [from = ''] = volume.split(':')
        t.ok(from.startsWith('.') ? existsSync(join(root, from)) : from in volumes, `${name}: ${volume}`)
      }
      for (const port of services[name]?.ports ?? []) t.match(port, /^127\.0\.0\.1:/)
    }
    const scrape = parse(read('ops/prometheus/prometheus.yml'))
    for (const file of scrape.rule_files as string[]) {
      t.ok(
        existsSync(join(root, 'ops/prometheus', normalize(file).slice(dirname('/etc/prometheus/x').length))),
        file,
      )
    }
    const targets = scrape.scrape_configs.flatMap((job: { static_configs: Array<{ targets: string[] }> }) =>
      job.static_configs.flatMap((one) => one.targets),
    ) as string[]
    for (const target of targets) t.ok((target.split(':')[0] as string) in services, target)
  },
)

t.test('the panels stand beside each other, not over each other', async (t) => {
  const cells = new Set<string>()
  for (const { gridPos } of dashboard.panels) {
    t.ok(gridPos.x + gridPos.w <= 24)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        t.notOk(cells.has(`${x} ${y}`))
        cells.add(`${x} ${y}`)
      }
    }
  }
})
