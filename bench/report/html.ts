import { results } from '../goals.ts'
import { type Bar, barChart, escapeHtml } from './chart.ts'
import type { Report } from './report.ts'
import {
  ARM_HEADS,
  type ArmRow,
  armCells,
  armRows,
  booksLines,
  controlLines,
  EQUATION_HEADS,
  equationRows,
  GOAL_HEADS,
  goalCells,
  number,
  OTHER_HEADS,
  otherRows,
} from './words.ts'

const STYLE = `
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5c6b7a; --paper: #fff; --line: #d9e0e7;
  --ours: #2463c4; --other: #9aa7b4; --redis: #c4462a; --postgres: #3d8a68; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4eaf0; --soft: #97a5b3; --paper: #12181f; --line: #2c3742;
    --ours: #6ea2f5; --other: #66737f; --redis: #e88468; --postgres: #6cc09a; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; } h3 { margin-bottom: .3rem; font-size: 1rem; }
p, li { color: var(--soft); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
.missed, .DIFFERS { color: var(--redis); font-weight: 600; } .met, .stretch { color: var(--postgres); font-weight: 600; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); dominant-baseline: central; } svg .label { text-anchor: end; }
svg .ours, svg .server { fill: var(--ours); } svg .other { fill: var(--other); }
svg .redis { fill: var(--redis); } svg .postgres { fill: var(--postgres); }
svg .whisker { stroke: var(--ink); stroke-width: 1.5; }
.key span { margin-right: 1rem; } .key i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; }
`

const CPU_PARTS = [
  ['server_us', 'server', 'server', '--ours'],
  ['redis_us', 'redis', 'Redis', '--redis'],
  ['postgres_us', 'postgres', 'PostgreSQL', '--postgres'],
] as const

function table(heads: string[], rows: string[][]): string {
  const head = heads.map((text) => `<th>${escapeHtml(text)}</th>`).join('')
  const body = rows.map((cells) => {
    const row = cells.map(
      (text) => `<td class="${/^[A-Za-z]+$/.test(text) ? text : ''}">${escapeHtml(text)}</td>`,
    )
    return `<tr>${row.join('')}</tr>`
  })
  return `<div class="scroll"><table><tr>${head}</tr>\n${body.join('\n')}\n</table></div>`
}

function rateChart(title: string, rows: ArmRow[]): string {
  const bars = rows.flatMap(({ label, of }): Bar[] => {
    const found = of('per_second')
    if (!found) return []
    const part = label.startsWith('Holdfast') ? 'ours' : 'other'
    return [
      { label, parts: [{ value: found.median, part }], text: `${number(found.median)}/s`, range: found },
    ]
  })
  return `<h3>${escapeHtml(title)}</h3>${barChart(title, bars)}`
}

function cpuChart(title: string, rows: ArmRow[]): string {
  const bars = rows.flatMap(({ label, of }): Bar[] => {
    const parts = CPU_PARTS.flatMap(([name, part]) => {
      const found = of(name)
      return found ? [{ value: Math.max(0, found.median), part }] : []
    })
    const sum = parts.reduce((total, { value }) => total + value, 0)
    return parts.length === 0 ? [] : [{ label, parts, text: `${number(sum)} µs` }]
  })
  if (bars.length === 0) return ''
  const key = CPU_PARTS.map(
    ([, , words, color]) => `<span><i style="background:var(${color})"></i>${words}</span>`,
  )
  return `<h3>${escapeHtml(title)}</h3><p class="key">${key.join('')}</p>${barChart(title, bars)}`
}

function charts(report: Report): string {
  const rows = armRows(report.samples)
  const all_connections = [...new Set(rows.map(({ connections }) => connections))]
  return all_connections
    .map((connections) => {
      const mine = rows.filter((row) => row.connections === connections)
      const where = connections === 0 ? 'without HTTP' : `at ${connections} connections`
      const rates = rateChart(`Per second ${where}: median, least and greatest of the rounds`, mine)
      return connections === 0 ? rates : rates + cpuChart(`CPU time of one request ${where}`, mine)
    })
    .join('\n')
}

/** The whole report as one page that needs nothing else. */
export function html(report: Report): string {
  const { options, samples, machine, minutes } = report
  const others = otherRows(report)
  const run = `${options.rounds} rounds, ${options.seconds} s an arm, ${minutes.toFixed(1)} minutes${options.is_quick ? '; a quick run, which shows that the tool works, not how fast anything is' : ''}`
  const facts = [...machine, run, ...controlLines(report)].map((line) => `<li>${escapeHtml(line)}</li>`)
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Holdfast bench</title><style>${STYLE}</style></head><body>
<h1>Holdfast bench</h1>
<ul>${facts.join('\n')}</ul>
<h2>Goals</h2>
${table(GOAL_HEADS, results(samples, options.connections).map(goalCells))}
<h2>Charts</h2>
${charts(report)}
<h2>Arms</h2>
${table(ARM_HEADS, armRows(samples).map(armCells))}
${others.length === 0 ? '' : `<h2>Other figures</h2>${table(OTHER_HEADS, others)}`}
<h2>Conservation</h2>
${booksLines(report)
  .map((line) => `<p>${escapeHtml(line)}</p>`)
  .join('\n')}
${table(EQUATION_HEADS, equationRows(report))}
</body></html>
`
}
